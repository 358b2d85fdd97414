package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// errForeign is returned for packets that are neither TCP nor UDP over IP:
// nothing is wrong with them, they are only not what this program is about.
var errForeign = errors.New("neither TCP nor UDP")

// A decodeError says that a packet is damaged, or captured only in part.
type decodeError struct{ Layer, Reason string }

func (e *decodeError) Error() string { return e.Layer + ": " + e.Reason }

func damaged(layer, reason string, args ...any) error {
	return &decodeError{layer, fmt.Sprintf(reason, args...)}
}

// Protocol numbers of the IP header, from IANA's registry.
const (
	hopByHop    = 0
	protocolTCP = 6
	protocolUDP = 17
	routing     = 43
	fragment    = 44
	options     = 60
)

// tcpFlags are the bits of the fourteenth byte of the TCP header, RFC 9293
// section 3.1.
type tcpFlags uint8

const (
	flagFIN tcpFlags = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// String names the flags, "SYN ACK". The other three bits, for urgent data and
// for congestion marks, tell nothing about an echo.
func (f tcpFlags) String() string {
	var set []string
	for _, flag := range []struct {
		bit  tcpFlags
		name string
	}{{flagSYN, "SYN"}, {flagFIN, "FIN"}, {flagRST, "RST"}, {flagPSH, "PSH"}, {flagACK, "ACK"}} {
		if f&flag.bit != 0 {
			set = append(set, flag.name)
		}
	}
	return strings.Join(set, " ")
}

// A packet is what the headers of one TCP or UDP packet say.
type packet struct {
	tcp      bool // otherwise UDP
	src, dst netip.AddrPort
	length   int    // bytes of payload on the wire
	payload  []byte // those of them that were captured
	partial  bool   // more fragments of this datagram follow, without ports

	// Of TCP.
	seq, ack uint32
	flags    tcpFlags
	window   uint16
	mss      int // the longest segment that a SYN asks for; 0: it does not say
}

// decode reads the headers of a packet that was captured on a link of that
// kind. The packet's payload is part of data.
func decode(link linkType, data []byte) (packet, error) {
	ip, err := stripLink(link, data)
	if err != nil {
		return packet{}, err
	}
	if len(ip) == 0 {
		return packet{}, damaged("IP", "the packet ends before it")
	}
	var datagram ipPacket
	switch version := ip[0] >> 4; version {
	case 4:
		datagram, err = decodeIPv4(ip)
	case 6:
		datagram, err = decodeIPv6(ip)
	default:
		err = damaged("IP", "there is no version %d", version)
	}
	if err != nil {
		return packet{}, err
	}
	p := packet{partial: datagram.partial}
	switch datagram.protocol {
	case protocolTCP:
		err = p.decodeTCP(datagram.body, datagram.length)
	case protocolUDP:
		err = p.decodeUDP(datagram.body, datagram.length)
	default:
		err = errForeign
	}
	if err != nil {
		return packet{}, err
	}
	p.src = netip.AddrPortFrom(datagram.src, p.src.Port())
	p.dst = netip.AddrPortFrom(datagram.dst, p.dst.Port())
	return p, nil
}

// stripLink returns what follows the link's header: an IP packet.
func stripLink(link linkType, data []byte) ([]byte, error) {
	const ipv4, ipv6 = 0x0800, 0x86dd
	kind, header := uint16(ipv4), 0
	switch link {
	case linkEthernet:
		// Two addresses of six bytes, then the kind of what follows. A tag of
		// a virtual network (IEEE 802.1Q) may stand before the kind.
		for header = 14; len(data) >= header; header += 4 {
			kind = binary.BigEndian.Uint16(data[header-2:])
			if kind != 0x8100 && kind != 0x88a8 || header > 14+4 {
				break
			}
		}
	case linkNull, linkLoop:
		header = 4 // an address family, whose numbers differ between systems
	case linkRaw:
	case linkSLL:
		if header = 16; len(data) >= header {
			kind = binary.BigEndian.Uint16(data[14:])
		}
	case linkSLL2:
		if header = 20; len(data) >= header {
			kind = binary.BigEndian.Uint16(data)
		}
	default:
		return nil, damaged("link", "type %d is not known here", link)
	}
	if len(data) < header {
		return nil, damaged("link", "%d bytes, and the header alone has %d", len(data), header)
	}
	if kind != ipv4 && kind != ipv6 {
		return nil, errForeign // ARP, for one
	}
	return data[header:], nil
}

// An ipPacket is an IP packet without its headers.
type ipPacket struct {
	src, dst netip.Addr
	protocol byte   // of the body
	body     []byte // as far as it was captured
	length   int    // of the body on the wire
	partial  bool   // more fragments follow
}

// decodeIPv4 reads the header of RFC 791 section 3.1.
func decodeIPv4(ip []byte) (ipPacket, error) {
	if len(ip) < 20 {
		return ipPacket{}, damaged("IPv4", "%d bytes, and the header has at least 20", len(ip))
	}
	header := int(ip[0]&15) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if total == 0 {
		// What the system hands its network card to cut up, or passes over
		// loopback uncut, may be longer than the field can say.
		total = len(ip)
	}
	switch {
	case header < 20 || header > total:
		return ipPacket{}, damaged("IPv4", "a header of %d bytes in a packet of %d", header, total)
	case header > len(ip):
		return ipPacket{}, damaged("IPv4", "%d bytes captured of a header of %d", len(ip), header)
	}
	part := binary.BigEndian.Uint16(ip[6:])
	if part&0x1fff != 0 {
		return ipPacket{}, errForeign // a later fragment: it has no TCP or UDP header
	}
	return ipPacket{
		src:      netip.AddrFrom4([4]byte(ip[12:])),
		dst:      netip.AddrFrom4([4]byte(ip[16:])),
		protocol: ip[9],
		body:     ip[header:min(total, len(ip))],
		length:   total - header,
		partial:  part&0x2000 != 0,
	}, nil
}

// decodeIPv6 reads the header of RFC 8200 section 3 and steps over the
// extension headers of its section 4.
func decodeIPv6(ip []byte) (ipPacket, error) {
	if len(ip) < 40 {
		return ipPacket{}, damaged("IPv6", "%d bytes, and the header has 40", len(ip))
	}
	p := ipPacket{
		src:      netip.AddrFrom16([16]byte(ip[8:])),
		dst:      netip.AddrFrom16([16]byte(ip[24:])),
		protocol: ip[6],
		body:     ip[40:],
		length:   int(binary.BigEndian.Uint16(ip[4:])),
	}
	if p.length == 0 {
		p.length = len(p.body) // as in IPv4
	}
	p.body = p.body[:min(p.length, len(p.body))]
	for p.protocol == hopByHop || p.protocol == routing || p.protocol == options || p.protocol == fragment {
		if len(p.body) < 8 {
			return ipPacket{}, damaged("IPv6", "it ends inside an extension header")
		}
		size := 8
		if p.protocol == fragment {
			part := binary.BigEndian.Uint16(p.body[2:])
			if part&^7 != 0 {
				return ipPacket{}, errForeign // a later fragment
			}
			p.partial = part&1 != 0
		} else {
			size += int(p.body[1]) * 8
		}
		if size > len(p.body) {
			return ipPacket{}, damaged("IPv6", "an extension header of %d bytes where %d are left", size, len(p.body))
		}
		p.protocol, p.body, p.length = p.body[0], p.body[size:], p.length-size
	}
	return p, nil
}

// decodeTCP reads the header of RFC 9293 section 3.1 from body, of which there
// were length bytes on the wire.
func (p *packet) decodeTCP(body []byte, length int) error {
	if len(body) < 20 {
		return damaged("TCP", "%d bytes, and the header has at least 20", len(body))
	}
	header := int(body[12]>>4) * 4
	if header < 20 || header > length {
		return damaged("TCP", "a header of %d bytes in a segment of %d", header, length)
	}
	p.tcp = true
	p.ports(body)
	p.seq, p.ack = binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])
	p.flags = tcpFlags(body[13])
	p.window = binary.BigEndian.Uint16(body[14:])
	p.length = length - header
	p.payload = body[min(header, len(body)):]
	p.mss = maxSegment(body[20:min(header, len(body))])
	return nil
}

// maxSegment finds the option of that name among the options of a TCP header,
// RFC 9293 section 3.2, and returns 0 if it is not there.
func maxSegment(options []byte) int {
	const end, nothing, segment = 0, 1, 2
	for len(options) > 0 && options[0] != end {
		if options[0] == nothing { // the one option without a length
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return 0
		}
		if options[0] == segment && options[1] == 4 {
			return int(binary.BigEndian.Uint16(options[2:]))
		}
		options = options[options[1]:]
	}
	return 0
}

// decodeUDP reads the header of RFC 768.
func (p *packet) decodeUDP(body []byte, length int) error {
	if len(body) < 8 {
		return damaged("UDP", "%d bytes, and the header has 8", len(body))
	}
	claimed := int(binary.BigEndian.Uint16(body[4:]))
	if claimed == 0 {
		claimed = length // RFC 2675 section 4: too long for the field
	}
	if claimed < 8 || claimed > length && !p.partial {
		return damaged("UDP", "a length of %d in a packet with room for %d", claimed, length)
	}
	p.ports(body)
	p.length = claimed - 8
	p.payload = body[8:min(claimed, len(body))]
	return nil
}

// ports reads what TCP and UDP have in common: their first four bytes.
func (p *packet) ports(body []byte) {
	p.src = netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(body))
	p.dst = netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(body[2:]))
}
