package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

const (
	ethernetHeader = 14
	ipHeader       = 20
	udpHeader      = 8
	tcpHeader      = 20
	transport      = ethernetHeader + ipHeader

	tcp = 6
	udp = 17

	syn = 0x02
	ack = 0x10

	// The first source port, and how many there are.
	firstPort = 1024
	ports     = 65536 - firstPort
	// Services beyond this many on one address begin again at the first, with the next port.
	servicesAnAddress = 0xfa
)

// traffic says what a flow looks like by its number. Flows of different numbers differ in their source.
type traffic struct {
	protocol byte
	from, to [6]byte
	source   uint32
	sources  int
	target   uint32
	port     int
	services int
	frame    int
}

type trafficFlags struct {
	protocol, from, to, sources, target *string
	services                            *int
}

func (f *trafficFlags) parse() (*traffic, error) {
	t := &traffic{services: *f.services}
	switch *f.protocol {
	case "tcp":
		t.protocol, t.frame = tcp, transport+tcpHeader
	case "udp":
		t.protocol, t.frame = udp, transport+udpHeader
	default:
		return nil, fmt.Errorf("protocol %q is not tcp or udp", *f.protocol)
	}
	for text, into := range map[string]*[6]byte{*f.from: &t.from, *f.to: &t.to} {
		mac, err := net.ParseMAC(text)
		if err != nil {
			return nil, err
		}
		copy(into[:], mac)
	}
	block, err := netip.ParsePrefix(*f.sources)
	if err != nil {
		return nil, err
	}
	t.source, t.sources = number(block.Masked().Addr()), 1<<(32-block.Bits())
	target, err := netip.ParseAddrPort(*f.target)
	if err != nil {
		return nil, err
	}
	t.target, t.port = number(target.Addr()), int(target.Port())
	if t.services < 1 {
		return nil, errors.New("there must be a service")
	}
	return t, nil
}

// newFrame has everything that all flows share.
func (t *traffic) newFrame() []byte {
	frame := make([]byte, t.frame)
	copy(frame, t.to[:])
	copy(frame[6:], t.from[:])
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	ip := frame[ethernetHeader:]
	ip[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8] = 64
	ip[9] = t.protocol
	body := frame[transport:]
	if t.protocol == udp {
		// A checksum of 0 means none (RFC 768), as with the offload that real senders leave it to.
		binary.BigEndian.PutUint16(body[4:], udpHeader)
	} else {
		body[12] = tcpHeader / 4 << 4
		binary.BigEndian.PutUint16(body[14:], 65535)
	}
	return frame
}

// segment is what changes along one TCP connection.
type segment struct {
	flags          byte
	sequence, next uint32
}

// fill makes frame the packet of that flow.
func (t *traffic) fill(frame []byte, flow int, s segment) {
	ip := frame[ethernetHeader:]
	binary.BigEndian.PutUint32(ip[12:], t.source+uint32(flow%t.sources))
	service := flow % t.services
	binary.BigEndian.PutUint32(ip[16:], t.target+uint32(service%servicesAnAddress))
	body := frame[transport:]
	binary.BigEndian.PutUint16(body, uint16(firstPort+flow/t.sources%ports))
	binary.BigEndian.PutUint16(body[2:], uint16(t.port+service/servicesAnAddress))
	t.seal(frame, s)
}

// seal writes the segment and the checksums.
func (t *traffic) seal(frame []byte, s segment) {
	ip := frame[ethernetHeader:transport]
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	if t.protocol == udp {
		return
	}
	body := frame[transport:]
	body[13] = s.flags
	binary.BigEndian.PutUint32(body[4:], s.sequence)
	binary.BigEndian.PutUint32(body[8:], s.next)
	binary.BigEndian.PutUint16(body[16:], 0)
	pseudo := sum(uint32(t.protocol)+uint32(len(body)), ip[12:20])
	binary.BigEndian.PutUint16(body[16:], checksum(pseudo, body))
}

// reply turns a frame that arrived into one of the opposite direction. Checksums do not mind the exchange.
func reply(frame []byte) {
	exchange(frame, 0, 6, 6)
	exchange(frame, ethernetHeader+12, ethernetHeader+16, 4)
	exchange(frame, transport, transport+2, 2)
}

func exchange(frame []byte, a, b, length int) {
	var kept [6]byte
	copy(kept[:], frame[a:a+length])
	copy(frame[a:], frame[b:b+length])
	copy(frame[b:], kept[:length])
}

// sum adds 16-bit words for the internet checksum (RFC 1071).
func sum(start uint32, data []byte) uint32 {
	for i := 0; i+1 < len(data); i += 2 {
		start += uint32(data[i])<<8 | uint32(data[i+1])
	}
	return start
}

func checksum(start uint32, data []byte) uint16 {
	total := sum(start, data)
	for total>>16 != 0 {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

func number(address netip.Addr) uint32 {
	four := address.As4()
	return binary.BigEndian.Uint32(four[:])
}

func destinationOf(frame []byte) string {
	return netip.AddrFrom4([4]byte(frame[ethernetHeader+16 : ethernetHeader+20])).String()
}

// isIPv4 tells the bench's own packets from what a kernel says by itself.
func isIPv4(frame []byte) bool {
	return len(frame) >= transport && binary.BigEndian.Uint16(frame[12:]) == 0x0800
}

// sameFlow says whether a frame that arrived carries the ports and source of that one.
func sameFlow(arrived, sent []byte) bool {
	return isIPv4(arrived) && len(arrived) >= len(sent) &&
		bytes.Equal(arrived[ethernetHeader+12:ethernetHeader+16], sent[ethernetHeader+12:ethernetHeader+16]) &&
		bytes.Equal(arrived[transport:transport+2], sent[transport:transport+2])
}
