package udprel

import (
	"encoding/binary"
	"errors"
)

// The header, on every packet: the twelve bytes of sequence, ack and ack
// bitfield, then what those need to work on a real network.
//
//	 0               1               2               3
//	+-------+-------+-------+-------+-------+-------+-------+-------+
//	|                           sequence                            |
//	|                             ack                               |
//	|                         ack bitfield                          |
//	|version| type  |                                               |
//	+-------+-------+         connection id, 64 bits        +-------+
//	|                                                       |       |
//	+-------+-------+-------+-------+-------+-------+-------+ . . . +
//	|           ack delay           |            oldest             |
//	+-------+-------+-------+-------+-------+-------+-------+-------+
const headerSize = 25

const wireVersion = 1

type packetType uint8

const (
	typeHello   packetType = 1 + iota // client: I want to connect [with this cookie]
	typeCookie                        // server: prove that you are at this address
	typeWelcome                       // server: here is your connection
	typeData                          // either: frames
	typeReset                         // either: I know no such connection
)

// A header is the first 25 bytes of a packet.
type header struct {
	seq    uint32 // number of this packet; a number is never used twice
	ack    uint32 // newest packet that has arrived
	bits   uint32 // bit n: packet ack-1-n has arrived
	kind   packetType
	connID uint64 // chosen by the one who receives the packet
	delay  uint16 // how long ago packet ack arrived, in units of delayUnit
	oldest uint16 // packets before seq-oldest need no acknowledgement any more
}

const delayUnit = 16e3 // nanoseconds

var errMalformed = errors.New("udprel: malformed packet")

func appendHeader(b []byte, h header) []byte {
	b = binary.BigEndian.AppendUint32(b, h.seq)
	b = binary.BigEndian.AppendUint32(b, h.ack)
	b = binary.BigEndian.AppendUint32(b, h.bits)
	b = append(b, wireVersion<<4|byte(h.kind))
	b = binary.BigEndian.AppendUint64(b, h.connID)
	b = binary.BigEndian.AppendUint16(b, h.delay)
	return binary.BigEndian.AppendUint16(b, h.oldest)
}

// parseHeader takes a datagram apart into header and body.
func parseHeader(b []byte) (h header, body []byte, err error) {
	if len(b) < headerSize || b[12]>>4 != wireVersion {
		return h, nil, errMalformed
	}
	h = header{
		seq:    binary.BigEndian.Uint32(b),
		ack:    binary.BigEndian.Uint32(b[4:]),
		bits:   binary.BigEndian.Uint32(b[8:]),
		kind:   packetType(b[12] & 15),
		connID: binary.BigEndian.Uint64(b[13:]),
		delay:  binary.BigEndian.Uint16(b[21:]),
		oldest: binary.BigEndian.Uint16(b[23:]),
	}
	if h.kind < typeHello || h.kind > typeReset {
		return h, nil, errMalformed
	}
	return h, b[headerSize:], nil
}

// expand returns the full number whose lower half is seq and which is nearest to
// near. Numbers on the wire wrap around after 2^32; this is the comparison that
// does not mind (RFC 1982).
func expand(seq uint32, near uint64) uint64 {
	return near + uint64(int64(int32(seq-uint32(near))))
}

type frameType uint8

// A data packet holds frames up to its end. Numbers in frames are unsigned
// varints of seven bits a byte, the lowest first, the highest bit set on all
// bytes but the last.
const (
	framePadding   frameType = iota // nothing; the rest of the packet is filler
	framePing                       // please acknowledge at once
	frameState                      // what the receiver has and how much it takes
	frameStream                     // offset, length, bytes of the stream
	frameEnd                        // length of the whole stream
	frameMessage                    // a message, or a piece of one
	frameChallenge                  // eight bytes: are you at this address?
	frameResponse                   // the same eight bytes: I am
	frameClose                      // a closeCode: the sender has left
	frameCount
)

// A frame is any frame, taken apart. Which fields it uses depends on its type.
type frame struct {
	kind frameType
	// stream: where data goes. end: the length of the stream.
	// message: where data goes in the message. close: the code.
	off  uint64
	data []byte // stream, message; challenge and response: eight bytes; state: the ranges

	// state
	have       uint64 // the stream has arrived up to here
	streamMax  uint64 // and may be sent up to here
	messageMax uint64 // bytes of messages that may be sent in all

	// message
	channel channelID
	id      uint64 // of the message, in its channel
	size    uint64 // of the message
}

func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v >= 1<<62 || (n > 1 && b[n-1] == 0) { // one way only to write a number
		return 0, nil, errMalformed
	}
	return v, b[n:], nil
}

// parseFrame takes the first frame off b.
func parseFrame(b []byte) (f frame, rest []byte, err error) {
	f.kind, b = frameType(b[0]), b[1:]
	number := func(v *uint64) {
		if err == nil {
			*v, b, err = uvarint(b)
		}
	}
	bytes := func(n uint64) {
		if err == nil && n > uint64(len(b)) {
			err = errMalformed
		}
		if err == nil {
			f.data, b = b[:n:n], b[n:]
		}
	}
	var n uint64
	switch f.kind {
	case framePadding:
		b = nil
	case framePing:
	case frameState:
		number(&f.have)
		number(&f.streamMax)
		number(&f.messageMax)
		number(&n)
		whole := b
		for range min(2*n, uint64(len(whole))) { // two numbers a range
			var v uint64
			number(&v)
		}
		if err == nil {
			if n > maxAckRanges {
				err = errMalformed
			}
			f.data = whole[:len(whole)-len(b)]
		}
	case frameStream:
		number(&f.off)
		number(&n)
		bytes(n)
	case frameEnd, frameClose:
		number(&f.off)
	case frameMessage:
		var channel uint64
		number(&channel)
		number(&f.id)
		number(&f.size)
		number(&f.off)
		number(&n)
		bytes(n)
		if err == nil && (channel >= uint64(channels) || f.off > f.size || f.size-f.off < n || (n == 0 && f.size > 0)) {
			err = errMalformed
		}
		f.channel = channelID(channel)
	case frameChallenge, frameResponse:
		bytes(8)
	default:
		err = errMalformed
	}
	return f, b, err
}

// appendFrame is the inverse of parseFrame.
func appendFrame(b []byte, f frame) []byte {
	b = append(b, byte(f.kind))
	number := func(v uint64) { b = binary.AppendUvarint(b, v) }
	switch f.kind {
	case frameState:
		panic("udprel: see received.appendState")
	case frameStream:
		number(f.off)
		number(uint64(len(f.data)))
	case frameEnd, frameClose:
		number(f.off)
	case frameMessage:
		number(uint64(f.channel))
		number(f.id)
		number(f.size)
		number(f.off)
		number(uint64(len(f.data)))
	}
	return append(b, f.data...)
}

// An urgency is how soon a packet must be acknowledged.
type urgency uint8

const (
	noAck urgency = iota
	soon
	atOnce
)

// scan reports whether all of a packet's frames can be read, and how soon they
// want to be acknowledged.
func scan(body []byte) (u urgency, ok bool) {
	for len(body) > 0 {
		f, rest, err := parseFrame(body)
		if err != nil {
			return 0, false
		}
		switch f.kind {
		case framePadding, frameState:
		case framePing:
			u = atOnce
		default:
			u = max(u, soon)
		}
		body = rest
	}
	return u, true
}

// uvarintLen is the size of v on the wire.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
