package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"sort"
	"time"
)

const (
	// Frames a system call: enough that entering the kernel does not count.
	batch = 64
	// Packets between two looks at the clocks.
	chunk = 16 * batch
)

func trafficOptions(flags *flag.FlagSet) *trafficFlags {
	return &trafficFlags{
		protocol: flags.String("protocol", "udp", "udp, or tcp: SYN for a new flow, ACK afterwards"),
		from:     flags.String("from", "", "MAC address to send from"),
		to:       flags.String("to", "", "MAC address to send to"),
		sources:  flags.String("sources", "", "block of client addresses"),
		target:   flags.String("target", "", "address:port of the first service"),
		services: flags.Int("services", 1, "how many services take turns"),
	}
}

type packetsResult struct {
	Packets int `json:"packets"`
	// What every packet cost, in nanoseconds of the clock and of this thread's CPU time.
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
	// The median of the same over chunks of 1,024 packets.
	WallMedian float64 `json:"wallMedian"`
	CPUMedian  float64 `json:"cpuMedian"`
	// The least of the same: of a chunk that nothing came into.
	WallLeast float64 `json:"wallLeast"`
	CPULeast  float64 `json:"cpuLeast"`
}

// packets sends as fast as it can and says what a packet cost.
func packets(arguments []string) (any, error) {
	flags, cpu := newFlags("packets")
	options := trafficOptions(flags)
	device := flags.String("interface", "eth0", "interface to send on")
	first := flags.Int("first", 0, "number of the first flow")
	warm := flags.Int("warm", 4*chunk, "packets to send before the measured ones")
	total := flags.Int("packets", 100*chunk, "packets to send at most")
	limit := flags.Duration("limit", time.Second, "time to send for at most")
	established := flags.Int("established", 0, "send over so many established flows; 0: every packet is a new flow")
	replies := flags.Bool("replies", false, "of established flows send what comes back")
	sink := flags.String("sink", "", "network namespace (a file) that answers, to establish flows")
	sinkDevice := flags.String("sink-interface", "eth0", "interface there")
	flags.Parse(arguments)

	traffic, err := options.parse()
	if err != nil {
		return nil, err
	}
	if err := pin(*cpu); err != nil {
		return nil, err
	}
	client, err := openLink(*device, false)
	if err != nil {
		return nil, err
	}
	var send sender
	if *established == 0 {
		send = newFlows(traffic, client, *first)
	} else {
		var server *link
		err := inNetwork(*sink, func() (err error) {
			server, err = openLink(*sinkDevice, false)
			return err
		})
		if err != nil {
			return nil, err
		}
		there, back, err := establish(traffic, client, *sink, *sinkDevice, *first, *established)
		if err != nil {
			return nil, err
		}
		if *replies {
			send = inTurn(server, back)
		} else {
			send = inTurn(client, there)
		}
	}
	return measure(send, *warm/chunk, *total/chunk, *limit)
}

// sender sends a chunk of packets.
type sender func() error

// newFlows makes every packet the first of its flow.
func newFlows(t *traffic, out *link, next int) sender {
	frames := make([][]byte, batch)
	for i := range frames {
		frames[i] = t.newFrame()
	}
	out.prepare(frames)
	return func() error {
		for n := 0; n < chunk; n += batch {
			for _, frame := range frames {
				t.fill(frame, next, segment{flags: syn})
				next++
			}
			if err := out.sendAll(0, batch); err != nil {
				return err
			}
		}
		return nil
	}
}

// inTurn sends the same frames over and over.
func inTurn(out *link, frames [][]byte) sender {
	out.prepare(frames)
	at := 0
	return func() error {
		for n := 0; n < chunk; {
			size := min(len(frames)-at, chunk-n)
			if err := out.sendAll(at, size); err != nil {
				return err
			}
			n += size
			at = (at + size) % len(frames)
		}
		return nil
	}
}

// measure sends some chunks for nothing, and then others with an eye on the clocks.
func measure(send sender, warm, chunks int, limit time.Duration) (any, error) {
	if chunks == 0 {
		return nil, fmt.Errorf("at least %d packets are needed", chunk)
	}
	for i := 0; i < warm; i++ {
		if err := send(); err != nil {
			return nil, err
		}
	}
	walls := make([]float64, 0, chunks)
	cpus := make([]float64, 0, chunks)
	started, startedCPU := time.Now(), threadTime()
	at, atCPU := started, startedCPU
	for len(walls) < chunks && at.Sub(started) < limit {
		if err := send(); err != nil {
			return nil, err
		}
		now, nowCPU := time.Now(), threadTime()
		walls = append(walls, float64(now.Sub(at))/chunk)
		cpus = append(cpus, float64(nowCPU-atCPU)/chunk)
		at, atCPU = now, nowCPU
	}
	sent := float64(len(walls) * chunk)
	return packetsResult{
		Packets: (len(walls) + warm) * chunk, Wall: float64(at.Sub(started)) / sent, CPU: float64(atCPU-startedCPU) / sent,
		WallMedian: median(walls), CPUMedian: median(cpus),
		WallLeast: slices.Min(walls), CPULeast: slices.Min(cpus),
	}, nil
}

// establish makes flows that have seen packets of both directions, and returns one later packet of each, there and back. A
// raw socket at the sink sees what arrives before any rule there drops it, and answers. In TCP that is the handshake.
func establish(t *traffic, client *link, sink, sinkDevice string, first, flows int) (there, back [][]byte, err error) {
	var server *link
	err = inNetwork(sink, func() (err error) {
		server, err = openLink(sinkDevice, true)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defer server.close()
	buffer := make([]byte, 2048)
	for flow := first; flow < first+flows; flow++ {
		frame := t.newFrame()
		t.fill(frame, flow, segment{flags: syn})
		if err := client.send(frame); err != nil {
			return nil, nil, err
		}
		arrived, err := awaitFlow(server, buffer, frame)
		if err != nil {
			return nil, nil, err
		}
		answer := append([]byte(nil), arrived...)
		reply(answer)
		t.seal(answer, segment{flags: syn | ack, next: 1})
		if err := server.send(answer); err != nil {
			return nil, nil, err
		}
		t.seal(frame, segment{flags: ack, sequence: 1, next: 1})
		if err := client.send(frame); err != nil {
			return nil, nil, err
		}
		t.seal(answer, segment{flags: ack, sequence: 1, next: 1})
		there, back = append(there, frame), append(back, answer)
	}
	return there, back, nil
}

func awaitFlow(tap *link, buffer, sent []byte) ([]byte, error) {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		arrived, err := tap.receive(buffer)
		if err != nil {
			return nil, err
		}
		if arrived != nil && sameFlow(arrived, sent) {
			return arrived[:len(sent)], nil
		}
	}
	return nil, errors.New("the sink did not get the first packet of a flow")
}

func median(values []float64) float64 {
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
