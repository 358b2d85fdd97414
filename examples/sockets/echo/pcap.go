package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The classic pcap file: a header of 24 bytes, then for each packet a header
// of 16 bytes and the packet. The writer's machine chooses the byte order; the
// magic number at the front shows which, and whether a packet's time is in
// seconds and microseconds or in seconds and nanoseconds. The format is
// described in draft-ietf-opsawg-pcap.
const (
	pcapMicros = 0xa1b2c3d4
	pcapNanos  = 0xa1b23c4d
	pcapngMark = 0x0a0d0d0a // begins the newer format, the same in both byte orders

	// maxCaptured is the most of one packet that a file may hold: as much as
	// tcpdump takes by default, and four times an IP packet.
	maxCaptured = 256 << 10
)

// A linkType says what stands before the IP header of each packet in a file.
// The numbers are those of the registry at https://www.tcpdump.org/linktypes.html.
type linkType uint16

const (
	linkNull     linkType = 0   // four bytes of address family: loopback of macOS and BSD
	linkEthernet linkType = 1   // what we write; also the loopback of Linux
	linkRaw      linkType = 101 // nothing
	linkLoop     linkType = 108 // like linkNull, of OpenBSD
	linkSLL      linkType = 113 // sixteen bytes: tcpdump -i any
	linkSLL2     linkType = 276 // twenty bytes: its newer form
)

// errNotPcap is the condition behind every [pcapError].
var errNotPcap = errors.New("not a sound pcap file")

// A pcapError says what is wrong with a pcap file, and where.
type pcapError struct {
	Packet int // number of the packet, from 1; 0 for the header of the file
	Reason string
}

func (e *pcapError) Error() string {
	if e.Packet == 0 {
		return fmt.Sprintf("%v: %s", errNotPcap, e.Reason)
	}
	return fmt.Sprintf("%v: packet %d: %s", errNotPcap, e.Packet, e.Reason)
}

func (e *pcapError) Unwrap() error { return errNotPcap }

// A record is one packet of a pcap file.
type record struct {
	at   time.Time
	data []byte // what was captured, from the link header on
	size int    // how long the packet was on the wire: at least len(data)
}

// A pcapReader reads a pcap file of any machine.
type pcapReader struct {
	link linkType

	r     *bufio.Reader
	order binary.ByteOrder
	unit  time.Duration // of the second half of a time
	n     int           // packets begun with
	buf   []byte
}

// newPcapReader reads the header of a file.
func newPcapReader(r io.Reader) (*pcapReader, error) {
	p := &pcapReader{r: bufio.NewReader(r)}
	var head [24]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return nil, p.short(err, "the file ends inside its header of 24 bytes")
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(head[:]) {
		case pcapMicros:
			p.order, p.unit = order, time.Microsecond
		case pcapNanos:
			p.order, p.unit = order, time.Nanosecond
		case pcapngMark:
			return nil, p.fault("it is a pcapng file: save it as pcap (editcap -F pcap OLD NEW)")
		}
	}
	if p.order == nil {
		return nil, p.fault("it begins with % x, which is no magic number", head[:4])
	}
	if major, minor := p.order.Uint16(head[4:]), p.order.Uint16(head[6:]); major != 2 || minor != 4 {
		return nil, p.fault("version %d.%d, of which only 2.4 is known", major, minor)
	}
	// Eight bytes of zone and accuracy have never been used; the length limit
	// of the capturing program after them tells us nothing.
	p.link = linkType(p.order.Uint32(head[20:])) // above 16 bits: the length of a checksum
	return p, nil
}

// next returns the next packet, whose data are valid until the next call, and
// io.EOF after the last.
func (p *pcapReader) next() (record, error) {
	p.n++
	var head [16]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		if err == io.EOF {
			return record{}, io.EOF
		}
		return record{}, p.short(err, "the file ends inside the packet's header")
	}
	seconds, fraction := p.order.Uint32(head[:]), p.order.Uint32(head[4:])
	captured, size := p.order.Uint32(head[8:]), p.order.Uint32(head[12:])
	switch {
	case captured > maxCaptured:
		return record{}, p.fault("%d bytes captured, over the limit of %d", captured, maxCaptured)
	case size < captured:
		return record{}, p.fault("%d bytes captured of %d", captured, size)
	case size > 1<<30:
		return record{}, p.fault("no packet is %d bytes long", size)
	case int64(fraction)*int64(p.unit) >= int64(time.Second):
		return record{}, p.fault("the fraction of its time is over a second")
	}
	if int(captured) > len(p.buf) {
		p.buf = make([]byte, captured)
	}
	data := p.buf[:captured]
	if n, err := io.ReadFull(p.r, data); err != nil {
		return record{}, p.short(err, "the file ends after %d of the packet's %d bytes", n, captured)
	}
	at := time.Unix(int64(seconds), int64(fraction)*int64(p.unit))
	return record{at: at, data: data, size: int(size)}, nil
}

func (p *pcapReader) fault(reason string, args ...any) error {
	return &pcapError{Packet: p.n, Reason: fmt.Sprintf(reason, args...)}
}

// short tells a file that ends too early from one that cannot be read.
func (p *pcapReader) short(err error, reason string, args ...any) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return p.fault(reason, args...)
	}
	return err
}

// A pcapWriter writes a pcap file of Ethernet packets with times in
// microseconds, in network byte order.
type pcapWriter struct {
	w   *bufio.Writer
	err error // the first one
	n   int64 // bytes written
}

func newPcapWriter(w io.Writer) *pcapWriter {
	p := &pcapWriter{w: bufio.NewWriter(w)}
	head := binary.BigEndian.AppendUint32(nil, pcapMicros)
	head = binary.BigEndian.AppendUint16(head, 2)
	head = binary.BigEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = binary.BigEndian.AppendUint32(head, maxCaptured)
	head = binary.BigEndian.AppendUint32(head, uint32(linkEthernet))
	p.write(head)
	return p
}

// add writes one packet. Errors wait for flush.
func (p *pcapWriter) add(r record) {
	data := r.data[:min(len(r.data), maxCaptured)]
	var head [16]byte
	binary.BigEndian.PutUint32(head[:], uint32(r.at.Unix()))
	binary.BigEndian.PutUint32(head[4:], uint32(r.at.Nanosecond()/1000))
	binary.BigEndian.PutUint32(head[8:], uint32(len(data)))
	binary.BigEndian.PutUint32(head[12:], uint32(max(r.size, len(data))))
	p.write(head[:])
	p.write(data)
}

func (p *pcapWriter) write(b []byte) {
	if p.err == nil {
		var n int
		n, p.err = p.w.Write(b)
		p.n += int64(n)
	}
}

func (p *pcapWriter) flush() error {
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}
