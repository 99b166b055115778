package main

import "time"

type countResult struct {
	Sent int `json:"sent"`
	// Where they arrived, by address.
	Counts map[string]int `json:"counts"`
}

// count opens flows one after the other and counts where each arrives.
func count(arguments []string) (any, error) {
	flags, cpu := newFlags("count")
	options := trafficOptions(flags)
	device := flags.String("interface", "eth0", "interface to send on")
	first := flags.Int("first", 0, "number of the first flow")
	flows := flags.Int("flows", 120_000, "how many flows")
	sink := flags.String("sink", "", "network namespace (a file) where they arrive")
	sinkDevice := flags.String("sink-interface", "eth0", "interface there")
	flags.Parse(arguments)

	traffic, err := options.parse()
	if err != nil {
		return nil, err
	}
	if err := pin(*cpu); err != nil {
		return nil, err
	}
	out, err := openLink(*device, false)
	if err != nil {
		return nil, err
	}
	var tap *link
	err = inNetwork(*sink, func() (err error) {
		tap, err = openLink(*sinkDevice, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	result := countResult{Sent: *flows, Counts: map[string]int{}}
	frames := make([][]byte, batch)
	for i := range frames {
		frames[i] = traffic.newFrame()
	}
	out.prepare(frames)
	buffer := make([]byte, 2048)
	collect := func() error {
		for {
			arrived, err := tap.receive(buffer)
			if err != nil || arrived == nil {
				return err
			}
			if isIPv4(arrived) {
				result.Counts[destinationOf(arrived)]++
			}
		}
	}
	for next := 0; next < *flows; {
		size := min(batch, *flows-next)
		for i := 0; i < size; i++ {
			traffic.fill(frames[i], *first+next, segment{flags: syn})
			next++
		}
		if err := out.sendAll(0, size); err != nil {
			return nil, err
		}
		if err := collect(); err != nil {
			return nil, err
		}
	}
	// Packets that another CPU took over are still on their way.
	time.Sleep(20 * time.Millisecond)
	return result, collect()
}
