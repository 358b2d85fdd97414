package udprel

import (
	"net/netip"
	"time"
)

// A Config holds what may be chosen about connections. nil and the zero value
// mean the defaults. It is read once, when the endpoint is made.
type Config struct {
	// MaxDatagram is the largest UDP payload that is sent, in bytes, if the
	// path is found to carry it. 0 means 1,472, which with IPv4 makes packets
	// of 1,500 bytes (1,452 with IPv6), and 32,768 to addresses of this machine.
	MaxDatagram int
	// SendBuffer is how many bytes written, of the stream and of messages each,
	// may wait to be acknowledged. Writes block while there are more. It and
	// ReceiveBuffer bound the rate: a buffer per round trip. 0 means 8 MiB.
	SendBuffer int
	// ReceiveBuffer is how many bytes of the stream may have arrived without
	// having been read. The sender stops there. 0 means 8 MiB.
	ReceiveBuffer int
	// MessageBuffer is the same for messages, each of which counts for 64
	// bytes more than it has, and so bounds the size of a message. 0 means 4 MiB.
	MessageBuffer int
	// Congestion makes the congestion control of a connection: [NewModel],
	// [NewCubic], [NewGoodBad] or another. nil means NewModel.
	Congestion func() Controller
	// HandshakeTimeout is how long to wait for an answer to Dial, besides its
	// context, and for a client to finish its handshake. 0 means 10 s.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long the peer may be silent before the connection
	// is over. 0 means 30 s.
	IdleTimeout time.Duration
	// KeepAlive is how long a connection may be silent before a packet asks
	// for a sign of life, which also keeps the flow alive in NATs. 0 means a
	// third of IdleTimeout; negative, never.
	KeepAlive time.Duration
	// Linger is how long Close waits for the peer to acknowledge what was
	// written. 0 means 5 s; negative, not at all.
	Linger time.Duration
	// Backlog is how many connections a listener holds that nobody has
	// accepted yet, those in the midst of their handshake included. 0 means 128.
	Backlog int
	// Trace is told what happens; nil means nobody is.
	Trace *Trace
}

// withDefaults returns a copy without zeros. nil is allowed.
func (c *Config) withDefaults() *Config {
	var d Config
	if c != nil {
		d = *c
	}
	d.SendBuffer = orDefault(d.SendBuffer, 8<<20)
	d.ReceiveBuffer = max(orDefault(d.ReceiveBuffer, 8<<20), earlyMax)
	d.MessageBuffer = max(orDefault(d.MessageBuffer, 4<<20), earlyMax)
	if d.Congestion == nil {
		d.Congestion = NewModel
	}
	d.HandshakeTimeout = orDefault(d.HandshakeTimeout, 10*time.Second)
	d.IdleTimeout = orDefault(d.IdleTimeout, 30*time.Second)
	if d.KeepAlive == 0 {
		d.KeepAlive = d.IdleTimeout / 3
	}
	if d.Linger == 0 {
		d.Linger = 5 * time.Second
	}
	d.Backlog = orDefault(d.Backlog, 128)
	return &d
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// maxDatagram is the largest payload of UDP over IPv4.
const maxDatagram = 65507

// maxSize is the largest datagram to try on a way to addr.
func (c *Config) maxSize(addr netip.Addr) int {
	switch {
	case c.MaxDatagram > 0:
		return min(max(c.MaxDatagram, minMTU), maxDatagram)
	case addr.IsLoopback():
		return 32 << 10
	case addr.Is4() || addr.Is4In6():
		return 1472
	}
	return 1452
}
