package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type connectResult struct {
	Connections int `json:"connections"`
	// Those that nobody answered, or that were refused.
	Failed int `json:"failed"`
	// Connections a second of all CPUs together: by the clock, and by the CPU time that the threads had.
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
}

// How long one end waits for the other, which another CPU may hold up.
const patience = 100 * time.Millisecond

// connect opens TCP connections one after the other, on each of some CPUs a thread that plays both ends: connect, a byte
// each way, a reset from the client. Every packet is handled inside the system call that sends it, so nobody waits for
// another process. A reset, because thousands of connections in TIME_WAIT would make the last ones dearer than the first.
func connect(arguments []string) (any, error) {
	flags, _ := newFlags("connect")
	cpus := flags.String("cpus", "0", "a thread on each of these, such as 0,1")
	sources := flags.String("sources", "", "block of client addresses")
	target := flags.String("target", "", "address:port to dial; backends serve the same port")
	sink := flags.String("sink", "", "network namespace (a file) of the backends")
	warm := flags.Int("warm", 500, "connections a CPU before the measured ones")
	total := flags.Int("connections", 20_000, "connections a CPU at most")
	limit := flags.Duration("limit", time.Second, "time at most")
	flags.Parse(arguments)

	block, err := netip.ParsePrefix(*sources)
	if err != nil {
		return nil, err
	}
	to, err := netip.ParseAddrPort(*target)
	if err != nil {
		return nil, err
	}
	var server int
	err = inNetwork(*sink, func() (err error) {
		server, err = listenOn(int(to.Port()))
		return err
	})
	if err != nil {
		return nil, err
	}
	type answer struct {
		connectResult
		err error
	}
	answers := make(chan answer)
	numbers := strings.Split(*cpus, ",")
	share := uint32(1) << (32 - block.Bits()) / uint32(len(numbers))
	for i, text := range numbers {
		cpu, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		c := &connector{server: server, to: to, source: number(block.Masked().Addr()) + uint32(i)*share, sources: share}
		go func() {
			runtime.LockOSThread()
			result, err := c.run(cpu, *warm, *total, *limit)
			answers <- answer{result, err}
		}()
	}
	sum := connectResult{}
	for range numbers {
		one := <-answers
		if one.err != nil {
			return nil, one.err
		}
		sum.Connections += one.Connections
		sum.Failed += one.Failed
		sum.Wall += one.Wall
		sum.CPU += one.CPU
	}
	return sum, nil
}

// listenOn makes a socket that all threads accept from. Which of them gets a connection does not matter: for each that
// one of them has dialled there is one to accept.
func listenOn(port int) (int, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: port})
	}
	if err == nil {
		err = syscall.Listen(socket, 1024)
	}
	if err != nil {
		return 0, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return socket, nil
}

type connector struct {
	server  int
	to      netip.AddrPort
	source  uint32
	sources uint32
	made    uint32
}

func (c *connector) run(cpu, warm, total int, limit time.Duration) (result connectResult, err error) {
	if err := pin(cpu); err != nil {
		return result, err
	}
	for i := 0; i < warm; i++ {
		if _, err := c.once(); err != nil {
			return result, err
		}
	}
	started, startedCPU := time.Now(), threadTime()
	for result.Connections+result.Failed < total && time.Since(started) < limit {
		good, err := c.once()
		if err != nil {
			return result, err
		}
		if good {
			result.Connections++
		} else {
			result.Failed++
		}
	}
	result.Wall = float64(result.Connections) / time.Since(started).Seconds()
	result.CPU = float64(result.Connections) / (threadTime() - startedCPU).Seconds()
	return result, nil
}

// once says whether the connection came about.
func (c *connector) once() (bool, error) {
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer syscall.Close(client)
	syscall.SetsockoptLinger(client, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	n := c.source + c.made%c.sources
	port := firstPort + int(c.made/c.sources)%ports
	c.made++
	local := &syscall.SockaddrInet4{Addr: [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, Port: port}
	if err := syscall.Bind(client, local); err != nil {
		return false, fmt.Errorf("bind: %w", err)
	}
	to := &syscall.SockaddrInet4{Addr: c.to.Addr().As4(), Port: int(c.to.Port())}
	// The handshake is over when this returns, although it does not wait; asked again it says so.
	if err := syscall.Connect(client, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return false, nil
	}
	if err := syscall.Connect(client, to); err != nil && !errors.Is(err, syscall.EISCONN) {
		return false, nil
	}
	accepted, ok := c.accept()
	if !ok {
		return false, nil
	}
	defer syscall.Close(accepted)
	return exchangeByte(client, accepted) && exchangeByte(accepted, client), nil
}

func (c *connector) accept() (int, bool) {
	for started := time.Now(); ; {
		accepted, _, err := syscall.Accept4(c.server, syscall.SOCK_NONBLOCK)
		if err == nil {
			return accepted, true
		}
		if !errors.Is(err, syscall.EAGAIN) || time.Since(started) > patience {
			return 0, false
		}
	}
}

func exchangeByte(from, to int) bool {
	one := [1]byte{'x'}
	if n, err := syscall.Write(from, one[:]); n != 1 || err != nil {
		return false
	}
	for started := time.Now(); ; {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(to), uintptr(unsafe.Pointer(&one)), 1)
		if errno == 0 {
			return n == 1
		}
		if errno != syscall.EAGAIN || time.Since(started) > patience {
			return false
		}
	}
}
