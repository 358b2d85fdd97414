package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// The file format is pcapng (draft-ietf-opsawg-pcapng): blocks, each with its
// type and, before and after the body, its length.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6          // "enhanced packet"
	byteOrderMagic = 0x1a2b3c4d // shows the reader which byte comes first
	linkRaw        = 101        // packets begin with the IP header
	optionEnd      = 0
	optionComment  = 1
	optionName     = 2 // of an interface
	optionResol    = 9 // of its times: 9 for nanoseconds
	optionUserAppl = 4 // of a section: the program that wrote it

	// maxSegment is how much of the stream one packet of the file carries:
	// what fits in an Ethernet frame over IPv6 (1500 − 40 − 20).
	maxSegment = 1440

	// maxCapture is how long a file may become.
	maxCapture = 256 << 20
)

// errCaptureFull says that the file has reached maxCapture.
var errCaptureFull = fmt.Errorf("the capture has reached %d MiB: no more is written", maxCapture>>20)

// A capture writes a pcapng file. Its methods may be called by several
// goroutines.
type capture struct {
	mu  sync.Mutex
	w   io.Writer
	n   int64
	err error
}

// newCapture writes what a file begins with.
func newCapture(w io.Writer) (*capture, error) {
	c := &capture{w: w}
	section := binary.BigEndian.AppendUint32(nil, byteOrderMagic)
	section = binary.BigEndian.AppendUint16(section, 1) // version 1.0
	section = binary.BigEndian.AppendUint16(section, 0)
	section = binary.BigEndian.AppendUint64(section, 1<<64-1) // length of the section: not known
	section = option(section, optionComment, "A relay sees bytes, not packets: the payload and its times are what passed, the IP and TCP headers are made up around them.")
	section = option(section, optionUserAppl, "eavesdrop")
	section = option(section, optionEnd, "")
	c.block(blockSection, section)
	device := binary.BigEndian.AppendUint16(nil, linkRaw)
	device = binary.BigEndian.AppendUint16(device, 0)
	device = binary.BigEndian.AppendUint32(device, 0) // packets are never cut
	device = option(device, optionName, "tap")
	device = option(device, optionResol, "\x09")
	device = option(device, optionEnd, "")
	c.block(blockInterface, device)
	return c, c.err
}

// option appends an option: its number, its length, and its value filled up to
// a multiple of four bytes.
func option(b []byte, number uint16, value string) []byte {
	b = binary.BigEndian.AppendUint16(b, number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return fill(append(b, value...))
}

func fill(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// block writes one block, in one write so that a reader never sees half of it.
func (c *capture) block(kind uint32, body []byte) {
	size := uint32(12 + len(body))
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), kind)
	b = binary.BigEndian.AppendUint32(b, size)
	b = append(b, body...)
	b = binary.BigEndian.AppendUint32(b, size)
	if c.err == nil && c.n+int64(size) > maxCapture {
		c.err = errCaptureFull
	}
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(b)
		c.n += int64(n)
	}
}

// packet writes an IP packet.
func (c *capture) packet(at time.Time, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := binary.BigEndian.AppendUint32(nil, 0) // the first and only interface
	body = binary.BigEndian.AppendUint64(body, uint64(at.UnixNano()))
	body = binary.BigEndian.AppendUint32(body, uint32(len(data)))
	body = binary.BigEndian.AppendUint32(body, uint32(len(data)))
	body = fill(append(body, data...))
	c.block(blockPacket, body)
}

// failure returns why writing has stopped, nil if it has not.
func (c *capture) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// A flow is one connection as packets: what passed through the relay, put
// into TCP segments from the client's address to the server's, as if nobody
// stood between them. A nil flow records nothing.
type flow struct {
	to  *capture
	end [2]netip.AddrPort // the client's, the server's
	seq [2]uint32         // number of the next byte of each
}

// Flags of a TCP header (RFC 9293 section 3.1).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// newFlow writes the handshake of TCP. A nil capture gives a nil flow.
func newFlow(to *capture, client, server netip.AddrPort, at time.Time) *flow {
	if to == nil {
		return nil
	}
	ends := [2]netip.AddrPort{client, server}
	v6 := false
	for i, e := range ends {
		ends[i] = netip.AddrPortFrom(e.Addr().Unmap().WithZone(""), e.Port())
		v6 = v6 || ends[i].Addr().Is6()
	}
	if v6 { // a relay may join the two; one packet cannot
		for i, e := range ends {
			ends[i] = netip.AddrPortFrom(netip.AddrFrom16(e.Addr().As16()), e.Port())
		}
	}
	f := &flow{to: to, end: ends}
	f.send(at, 0, flagSYN, nil)
	f.send(at, 1, flagSYN|flagACK, nil)
	f.send(at, 0, flagACK, nil)
	return f
}

// data records bytes that one side, 0 the client or 1 the server, has sent.
func (f *flow) data(at time.Time, side int, p []byte) {
	for f != nil && len(p) > 0 {
		n := min(len(p), maxSegment)
		flags := flagACK
		if n == len(p) {
			flags |= flagPSH
		}
		f.send(at, side, flags, p[:n])
		p = p[n:]
	}
}

// fin records that one side has sent all, rst that the connection broke.
func (f *flow) fin(at time.Time, side int) {
	if f != nil {
		f.send(at, side, flagFIN|flagACK, nil)
		f.send(at, 1-side, flagACK, nil)
	}
}

func (f *flow) rst(at time.Time, side int) {
	if f != nil {
		f.send(at, side, flagRST|flagACK, nil)
	}
}

// send writes one segment and counts what it takes of the numbers: each byte,
// SYN and FIN take one.
func (f *flow) send(at time.Time, side, flags int, payload []byte) {
	src, dst := f.end[side], f.end[1-side]
	tcp := binary.BigEndian.AppendUint16(nil, src.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, dst.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, f.seq[side])
	ack := uint32(0)
	if flags&flagACK != 0 {
		ack = f.seq[1-side]
	}
	tcp = binary.BigEndian.AppendUint32(tcp, ack)
	tcp = append(tcp, 5<<4, byte(flags))            // a header of five words
	tcp = binary.BigEndian.AppendUint16(tcp, 65535) // window
	tcp = binary.BigEndian.AppendUint32(tcp, 0)     // checksum, set below; urgent pointer
	tcp = append(tcp, payload...)
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(tcp)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, 6) // TCP
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))

	f.seq[side] += uint32(len(payload))
	if flags&(flagSYN|flagFIN) != 0 {
		f.seq[side]++
	}
	f.to.packet(at, append(ipHeader(src.Addr(), dst.Addr(), len(tcp)), tcp...))
}

// ipHeader returns the header of a packet with size bytes of TCP.
func ipHeader(src, dst netip.Addr, size int) []byte {
	if src.Is4() { // RFC 791 section 3.1
		b := []byte{4<<4 | 5, 0}
		b = binary.BigEndian.AppendUint16(b, uint16(20+size))
		b = append(b, 0, 0, 0x40, 0, 64, 6, 0, 0) // no fragments; 64 hops; TCP; checksum below
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(b[10:], checksum(b))
		return b
	}
	b := []byte{6 << 4, 0, 0, 0} // RFC 8200 section 3
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(b, 6, 64)
	return append(append(b, src.AsSlice()...), dst.AsSlice()...)
}

// checksum is the Internet's (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
