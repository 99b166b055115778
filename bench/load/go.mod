module pulumi-netfilter-lb/bench/load

go 1.21
