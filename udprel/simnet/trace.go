package simnet

import (
	"net/netip"
	"time"
)

// A Trace is told what happens to each packet; a nil function is not called.
// Set it before the network is used.
//
// Calls come one at a time, in the order of [Packet.Time], from a goroutine of
// the network's and with the network locked: a callback must return soon and
// must not call any method of the network, its hosts or sockets, which would
// wait for ever. Inside a bubble two runs make the same calls.
type Trace struct {
	Sent      func(Packet)       // a packet reached its first link
	Dropped   func(Packet, Drop) // it ended before its program got it
	Delivered func(Packet)       // it is in the receiver's buffer
}

// A Packet describes a packet to the callbacks of [Trace] and [Network.Lose].
type Packet struct {
	Time     time.Time      // of what the callback reports
	From, To netip.AddrPort // as seen on the network
	Protocol string         // "udp", "tcp", or "icmp": nobody listens at From
	Size     int            // bytes at the IP layer, headers included
	Data     []byte         // payload; valid only during the call, not to be changed
	// Flags of a stream's packet are as in a segment of TCP, for example
	// "SYN ACK"; empty for a datagram.
	Flags string
	// Seq is the position of the first byte of Data in the stream, the first
	// byte of all being 0; Ack is the position expected next of the other
	// direction. As in TCP, the end (FIN) takes a position of its own.
	Seq, Ack uint64
}

func (p *packet) export(n *Network, now time.Duration) Packet {
	out := Packet{Time: n.start.Add(now), From: p.src, To: p.dst, Size: p.size, Data: p.data, Protocol: "udp"}
	switch p.kind {
	case unreachable:
		out.Protocol = "icmp"
	case stream:
		out.Protocol, out.Flags, out.Seq, out.Ack = "tcp", p.flags.String(), p.lo, p.ack
	}
	return out
}

func (t *Trace) sent(n *Network, p *packet, now time.Duration) {
	if t != nil && t.Sent != nil {
		t.Sent(p.export(n, now))
	}
}

func (t *Trace) dropped(n *Network, p *packet, now time.Duration, why Drop) {
	if t != nil && t.Dropped != nil {
		t.Dropped(p.export(n, now), why)
	}
}

func (t *Trace) delivered(n *Network, p *packet, now time.Duration) {
	if t != nil && t.Delivered != nil {
		t.Delivered(p.export(n, now))
	}
}
