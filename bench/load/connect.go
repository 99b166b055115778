package main

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

type connectResult struct {
	Connections int `json:"connections"`
	// Those that nobody answered, or that were refused.
	Failed int     `json:"failed"`
	Wall   float64 `json:"wall"`
	CPU    float64 `json:"cpu"`
}

// connect opens TCP connections one after the other, both ends in this thread: connect, a byte each way, a reset from the
// client. Every packet is handled inside the system call that sends it, so nobody ever waits for another process. A
// reset, because thousands of connections in TIME_WAIT would make the last ones dearer than the first.
func connect(arguments []string) (any, error) {
	flags, cpu := newFlags("connect")
	sources := flags.String("sources", "", "block of client addresses")
	target := flags.String("target", "", "address:port to dial")
	listen := flags.Int("listen", 0, "port that the backends serve; default: the target's")
	sink := flags.String("sink", "", "network namespace (a file) of the backends")
	warm := flags.Int("warm", 500, "connections before the measured ones")
	total := flags.Int("connections", 20_000, "connections at most")
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
	if *listen == 0 {
		*listen = int(to.Port())
	}
	if err := pin(*cpu); err != nil {
		return nil, err
	}
	var server int
	err = inNetwork(*sink, func() (err error) {
		server, err = listenOn(*listen)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &connector{server: server, to: to, source: number(block.Masked().Addr()), sources: uint32(1) << (32 - block.Bits())}
	for i := 0; i < *warm; i++ {
		if _, err := c.once(); err != nil {
			return nil, err
		}
	}
	result := connectResult{}
	started, startedCPU := time.Now(), threadTime()
	now := started
	for result.Connections+result.Failed < *total && now.Sub(started) < *limit {
		good, err := c.once()
		if err != nil {
			return nil, err
		}
		if good {
			result.Connections++
		} else {
			result.Failed++
		}
		now = time.Now()
	}
	result.Wall, result.CPU = now.Sub(started).Seconds(), (threadTime() - startedCPU).Seconds()
	return result, nil
}

func listenOn(port int) (int, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err == nil {
		err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
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

// once says whether the connection came about.
func (c *connector) once() (bool, error) {
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer syscall.Close(client)
	n := c.source + 1 + c.made%(c.sources-2)
	port := firstPort + int(c.made/(c.sources-2))%ports
	c.made++
	syscall.SetsockoptLinger(client, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	local := &syscall.SockaddrInet4{Addr: [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, Port: port}
	if err := syscall.Bind(client, local); err != nil {
		return false, fmt.Errorf("bind: %w", err)
	}
	err = syscall.Connect(client, &syscall.SockaddrInet4{Addr: c.to.Addr().As4(), Port: int(c.to.Port())})
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return false, nil
	}
	// Where packets are handled at once it is there already; a moment more for those that another CPU took over.
	var accepted int
	for tries := 0; ; tries++ {
		accepted, _, err = syscall.Accept4(c.server, syscall.SOCK_NONBLOCK)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EAGAIN) || tries == 200 {
			return false, nil
		}
	}
	defer syscall.Close(accepted)
	return exchangeByte(client, accepted) && exchangeByte(accepted, client), nil
}

func exchangeByte(from, to int) bool {
	one := [1]byte{'x'}
	if n, err := syscall.Write(from, one[:]); n != 1 || err != nil {
		return false
	}
	for tries := 0; tries < 2000; tries++ {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(to), uintptr(unsafe.Pointer(&one)), 1)
		if errno == 0 {
			return n == 1
		}
	}
	return false
}
