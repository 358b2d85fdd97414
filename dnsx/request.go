package dnsx

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// A request is a query as the server reads it: by hand, since most queries need
// nothing but their name and type, and without taking memory.
type request struct {
	wire   []byte // the whole message, only until the next one is read
	from   netip.AddrPort
	stream bool // over TCP: no limit but that of a message

	id     uint16
	bits   uint16 // the second pair of octets: QR, opcode, AA, TC, RD, RA, Z, AD, CD, rcode
	end    int    // where the question ends; 12 when there is none
	typ    uint16
	class  uint16
	name   []byte // in wire form, lower case
	folded [maxName]byte
	serial uint32 // of an IXFR
	zone   *Zone  // what to send, when it is a transfer that is allowed

	edns bool
	do   bool // DNSSEC OK
	size int  // what the client takes over UDP
}

// The bits of a header's second pair of octets.
const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitCD = 1 << 4

	rcodeMask   = 0xf
	opcodeShift = 11
	opcodeMask  = 0xf << opcodeShift
	pointer     = 0xc000 // with the offset at which a name goes on
	headerSize  = 12
	optSize     = 11  // an OPT record without options
	plainSize   = 512 // the largest datagram without EDNS (RFC 1035 section 4.2.1)
)

func (q *request) opcode() int { return int(q.bits&opcodeMask) >> opcodeShift }

// noAnswer is what read returns for what deserves none: too short for a
// header, or a response itself, which might begin an endless exchange between two servers.
const noAnswer = -1

// read takes a message apart and returns the rcode of its faults.
func (q *request) read(wire []byte) int {
	q.wire, q.name, q.zone, q.end = wire, nil, nil, headerSize
	q.edns, q.do, q.size = false, false, plainSize
	if len(wire) < headerSize {
		return noAnswer
	}
	be := binary.BigEndian
	q.id, q.bits = be.Uint16(wire), be.Uint16(wire[2:])
	if q.bits&bitQR != 0 {
		return noAnswer
	}
	notify := q.opcode() == dns.OpcodeNotify
	if !notify && q.opcode() != dns.OpcodeQuery {
		return dns.RcodeNotImplemented
	}
	questions, answers, authorities, additionals := be.Uint16(wire[4:]), be.Uint16(wire[6:]), be.Uint16(wire[8:]), be.Uint16(wire[10:])
	if questions != 1 || answers != 0 && !notify || authorities > 1 || additionals > 8 || q.bits&rcodeMask != 0 {
		return dns.RcodeFormatError
	}
	at := q.readName(headerSize)
	if at < 0 || len(wire)-at < 4 {
		q.name = nil
		return dns.RcodeFormatError
	}
	q.typ, q.class = be.Uint16(wire[at:]), be.Uint16(wire[at+2:])
	at += 4
	q.end = at
	if notify {
		return dns.RcodeSuccess // the new SOA record may follow, and is not to be believed
	}
	if authorities == 1 {
		// The SOA record that an IXFR begins with, and nothing else.
		if q.typ != dns.TypeIXFR {
			return dns.RcodeFormatError
		}
		rr, end, err := dns.UnpackRR(wire, at)
		soa, ok := rr.(*dns.SOA)
		if err != nil || !ok {
			return dns.RcodeFormatError
		}
		at, q.serial = end, soa.Serial
	}
	for range additionals {
		rcode, next := q.readAdditional(at)
		if rcode != dns.RcodeSuccess {
			return rcode
		}
		at = next
	}
	if at != len(wire) {
		return dns.RcodeFormatError // octets after the end
	}
	return dns.RcodeSuccess
}

// readName reads the question's name at an offset and returns where it ends;
// -1 if it is none. A first name has nothing that it could point to.
func (q *request) readName(at int) int {
	start := at
	for {
		if at >= len(q.wire) {
			return -1
		}
		n := int(q.wire[at])
		if n > maxLabel {
			return -1
		}
		at += 1 + n
		if at-start > maxName || at > len(q.wire) {
			return -1
		}
		if n == 0 {
			break
		}
	}
	q.name = q.folded[:copy(q.folded[:], q.wire[start:at])]
	lowerWire(q.name)
	return at
}

// readAdditional reads one record of the additional section; only OPT counts.
func (q *request) readAdditional(at int) (rcode, next int) {
	const fixed = 10 // type, class, TTL, length
	root := at < len(q.wire) && q.wire[at] == 0
	for at < len(q.wire) && q.wire[at] != 0 {
		if q.wire[at] > maxLabel {
			at++ // a pointer takes two octets and ends the name
			break
		}
		at += 1 + int(q.wire[at])
	}
	at++
	if len(q.wire)-at < fixed {
		return dns.RcodeFormatError, 0
	}
	be := binary.BigEndian
	typ, class, ttl, length := be.Uint16(q.wire[at:]), be.Uint16(q.wire[at+2:]), be.Uint32(q.wire[at+4:]), int(be.Uint16(q.wire[at+8:]))
	at += fixed
	if len(q.wire)-at < length {
		return dns.RcodeFormatError, 0
	}
	if typ != dns.TypeOPT {
		return dns.RcodeSuccess, at + length
	}
	if !root || q.edns || !optionsFit(q.wire[at:at+length]) {
		return dns.RcodeFormatError, 0 // RFC 6891 section 6.1.1
	}
	q.edns = true
	q.size = max(int(class), plainSize)
	q.do = ttl&(1<<15) != 0
	if version := ttl >> 16 & 0xff; version != 0 {
		return dns.RcodeBadVers, 0
	}
	return dns.RcodeSuccess, at + length
}

// optionsFit reports whether the options of an OPT record fill it exactly.
func optionsFit(data []byte) bool {
	for len(data) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(data[2:]))
		if n > len(data) {
			return false
		}
		data = data[n:]
	}
	return len(data) == 0
}

// limit is the size that the answer may have, with room for an OPT record kept free.
func (q *request) limit(maxUDP int) int {
	n := maxMessage
	if !q.stream {
		n = min(q.size, maxUDP)
	}
	if q.edns {
		n -= optSize
	}
	return n
}

// appendHeader begins an answer: header, and question if there was one. Counts
// of the other sections are zero.
func (q *request) appendHeader(dst []byte, flags uint16, rcode int) []byte {
	flags |= bitQR | q.bits&(opcodeMask|bitRD) | uint16(rcode&rcodeMask)
	be := binary.BigEndian
	dst = be.AppendUint16(dst, q.id)
	dst = be.AppendUint16(dst, flags)
	questions := uint16(1)
	if q.end == headerSize {
		questions = 0
	}
	dst = be.AppendUint16(dst, questions)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	return append(dst, q.wire[headerSize:q.end]...)
}

// appendError answers with nothing but an rcode.
func (q *request) appendError(dst []byte, rcode int, flags uint16, maxUDP int) []byte {
	start := len(dst)
	return q.appendOPT(q.appendHeader(dst, flags, rcode), start, rcode, maxUDP)
}

// appendOPT ends the answer that begins at start with an OPT record, if the
// query had one.
func (q *request) appendOPT(dst []byte, start, rcode, maxUDP int) []byte {
	if !q.edns {
		return dst
	}
	be := binary.BigEndian
	count := dst[start+10 : start+12]
	be.PutUint16(count, be.Uint16(count)+1)
	dst = append(dst, 0)
	dst = be.AppendUint16(dst, dns.TypeOPT)
	dst = be.AppendUint16(dst, uint16(maxUDP))
	ttl := uint32(rcode>>4) << 24
	if q.do {
		ttl |= 1 << 15
	}
	dst = be.AppendUint32(dst, ttl)
	return append(dst, 0, 0)
}
