// Command load makes the traffic of `npm run bench`: packets and connections as fast as one CPU can send them.
//
// Between network namespaces that are linked by veth pairs the kernel handles a packet to its end inside the system call
// that sends it, on the sender's CPU: client, gateway and sink alike. So one pinned thread that never waits measures what a
// packet costs, and its own CPU time leaves out whatever else the machine does meanwhile.
//
// It prints one JSON object. Standard library only, so that building it needs no network.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

type command func(arguments []string) (any, error)

var commands = map[string]command{
	"packets": packets,
	"count":   count,
	"connect": connect,
}

func main() {
	// The thread that works is the one that is pinned and whose time is read; nothing is collected meanwhile.
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 || commands[arguments[0]] == nil {
		return errors.New("usage: load packets|count|connect [options]; -help lists them")
	}
	result, err := commands[arguments[0]](arguments[1:])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// newFlags has the options that all commands share.
func newFlags(name string) (*flag.FlagSet, *int) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	return flags, flags.Int("cpu", -1, "run on this CPU only")
}
