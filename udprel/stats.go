package udprel

import "time"

// Stats counts what has happened on a connection. Bytes of packets are UDP
// payload.
type Stats struct {
	// RTT is the smoothed round-trip time, SmallestRTT the smallest of all.
	RTT, SmallestRTT time.Duration
	// Window is how many bytes may be in flight, InFlight how many are.
	Window, InFlight int
	// Rate is the pace at which packets leave, in bytes a second.
	Rate float64
	// State is what congestion control calls its state.
	State string
	// MTU is the size of the largest packet that is sent.
	MTU int

	// PacketsSent, PacketsReceived, BytesSent and BytesReceived count all
	// packets, those of the handshake included.
	PacketsSent, PacketsReceived uint64
	BytesSent, BytesReceived     uint64

	PacketsLost uint64 // given up
	Spurious    uint64 // of these, arrived after all
	Duplicates  uint64 // received twice
	Malformed   uint64 // received and not understood
	Timeouts    uint64 // waits for an acknowledgement that ended without one
	Repeats     uint64 // copies of messages sent before anybody asked
	Migrations  uint64 // changes of the peer's address

	StreamAcked    uint64 // bytes of the stream that the peer has
	StreamReceived uint64 // bytes of the stream that have come, without gaps
}

// statistics fills in the present state.
func (m *machine) statistics() Stats {
	s := m.stats
	s.RTT, s.SmallestRTT = m.rtt.smoothed, m.rtt.smallest
	s.Window, s.InFlight, s.Rate = m.control.Window(), m.sent.inFlight, m.control.Rate()
	s.State, s.MTU = m.control.State(), m.mtu.size
	s.StreamAcked, s.StreamReceived = m.out.base, m.in.complete()
	return s
}

// A Trace is told what happens on the connections of an endpoint; a nil function
// is not called. Calls for one connection come one at a time, with the
// connection locked: a callback must return soon and must not call any of its
// methods.
type Trace struct {
	Sent     func(PacketInfo) // a packet leaves
	Received func(PacketInfo) // a new packet has come
	Lost     func(PacketInfo) // a packet sent earlier is given up; what it carried is sent again
}

// PacketInfo describes a packet to the callbacks of [Trace].
type PacketInfo struct {
	Conn     *Conn     // the connection
	Time     time.Time // of what the callback reports
	Sequence uint32    // the packet's number
	Size     int       // bytes of UDP payload
	// Window, InFlight, Rate, RTT and State are of the connection at this
	// time, as in [Stats].
	Window, InFlight int
	Rate             float64
	RTT              time.Duration
	State            string
}

// trace calls one function of the Trace, if there is one.
func (m *machine) trace(pick func(*Trace) func(PacketInfo), now time.Duration, seq uint32, size int) {
	if m.cfg.Trace == nil || m.conn == nil {
		return
	}
	if f := pick(m.cfg.Trace); f != nil {
		f(PacketInfo{
			Conn: m.conn, Time: m.conn.e.start.Add(now), Sequence: seq, Size: size,
			Window: m.control.Window(), InFlight: m.sent.inFlight, Rate: m.control.Rate(),
			RTT: m.rtt.smoothed, State: m.control.State(),
		})
	}
}
