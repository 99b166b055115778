package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Numbers that package syscall does not have. include/uapi/linux: if_packet.h, time.h, sched.h.
const (
	packetQdiscBypass    = 20
	packetIgnoreOutgoing = 23
	clockThreadCPU       = 3
	cloneNewNet          = 0x40000000
)

// pin keeps the calling thread on one CPU; below 0 anywhere.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var mask [16]uint64
	mask[cpu/64] = 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return fmt.Errorf("cannot run on CPU %d: %w", cpu, errno)
	}
	return nil
}

// threadTime is the CPU time of this thread: packets that the kernel handles inside its system calls count, other
// processes that take the CPU meanwhile do not. (With CONFIG_IRQ_TIME_ACCOUNTING the former would be missing; the
// bench compares it with the clock.)
func threadTime() time.Duration {
	var at syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&at)), 0)
	return time.Duration(at.Nano())
}

// enterNetwork moves the calling thread; sockets stay in the network they were made in.
func enterNetwork(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, _, errno := syscall.RawSyscall(sysSetns, file.Fd(), cloneNewNet, 0); errno != 0 {
		return fmt.Errorf("cannot enter %s: %w", path, errno)
	}
	return nil
}

// inNetwork runs something there and comes back.
func inNetwork(path string, do func() error) error {
	here := "/proc/thread-self/ns/net"
	back, err := os.Open(here)
	if err != nil {
		return err
	}
	defer back.Close()
	if err := enterNetwork(path); err != nil {
		return err
	}
	failed := do()
	if _, _, errno := syscall.RawSyscall(sysSetns, back.Fd(), cloneNewNet, 0); errno != 0 {
		return fmt.Errorf("cannot come back from %s: %w", path, errno)
	}
	return failed
}

// link is a raw socket on one interface: whole Ethernet frames.
type link struct {
	socket   int
	messages []message
	vectors  []syscall.Iovec
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header syscall.Msghdr
	length uint32
	_      [4]byte
}

// openLink can send; with receive it also sees every packet that arrives, before any rule does.
func openLink(name string, receive bool) (*link, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	protocol := uint16(0)
	if receive {
		protocol = swap(syscall.ETH_P_ALL) // Taps of one protocol alone come after the rules of ingress.
	}
	// Of protocol 0 it receives nothing until it is bound to one.
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	if receive {
		err = syscall.SetsockoptInt(socket, syscall.SOL_PACKET, packetIgnoreOutgoing, 1)
		if err == nil {
			err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 8<<20)
		}
	} else {
		err = syscall.SetsockoptInt(socket, syscall.SOL_PACKET, packetQdiscBypass, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	address := &syscall.SockaddrLinklayer{Protocol: protocol, Ifindex: device.Index}
	if err := syscall.Bind(socket, address); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return &link{socket: socket}, nil
}

func (l *link) close() { syscall.Close(l.socket) }

// prepare lays frames out for sendAll, which sends them with what they hold at that time.
func (l *link) prepare(frames [][]byte) {
	l.messages = make([]message, len(frames))
	l.vectors = make([]syscall.Iovec, len(frames))
	for i, frame := range frames {
		l.vectors[i] = syscall.Iovec{Base: &frame[0]}
		l.vectors[i].SetLen(len(frame))
		l.messages[i].header.Iov = &l.vectors[i]
		l.messages[i].header.Iovlen = 1
	}
}

// sendAll sends n prepared frames, the first of them number from.
func (l *link) sendAll(from, n int) error {
	for end := from + n; from < end; {
		done, _, errno := syscall.RawSyscall6(sysSendmmsg, uintptr(l.socket),
			uintptr(unsafe.Pointer(&l.messages[from])), uintptr(end-from), 0, 0, 0)
		switch errno {
		case 0:
			from += int(done)
		case syscall.EINTR, syscall.ENOBUFS, syscall.EAGAIN:
		default:
			return fmt.Errorf("sendmmsg: %w", errno)
		}
	}
	return nil
}

func (l *link) send(frame []byte) error {
	if _, err := syscall.Write(l.socket, frame); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// receive takes one frame that is already there; nil where there is none.
func (l *link) receive(buffer []byte) ([]byte, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(l.socket),
			uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return buffer[:n], nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return nil, nil
		default:
			return nil, fmt.Errorf("receive: %w", errno)
		}
	}
}

// swap turns a number into network byte order; every machine that Go and this bench run on is little-endian.
func swap(number uint16) uint16 { return number>>8 | number<<8 }
