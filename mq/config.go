package mq

import (
	"context"
	"net"
	"time"
)

// A Config is what sockets can be told when they are made. Zero fields mean the
// defaults given, and a nil *Config means all of them.
type Config struct {
	// Identity is the name by which a ROUTER knows this socket: 1 to 255 bytes,
	// not beginning with a zero byte. None: the ROUTER makes one up.
	Identity []byte

	// SendHWM and RecvHWM are the high-water marks: how many messages wait to be
	// sent to, or received from, each peer. 0 means 1000, negative no limit. At
	// the mark a socket blocks its sender or drops the message, as its type says.
	SendHWM, RecvHWM int

	// Linger is how long Close waits for messages to leave; 0 means one second,
	// negative not at all.
	Linger time.Duration

	// ReconnectMin is the pause before a lost connection is tried again; it
	// doubles with each failure up to ReconnectMax. Each is shortened by up to a
	// half at random, so that many peers do not return at once. 0 means 100 ms
	// and 2 s.
	ReconnectMin, ReconnectMax time.Duration

	// HandshakeTimeout bounds the time from the connection to the end of the
	// handshake; 0 means 30 s, negative for ever.
	HandshakeTimeout time.Duration

	// HeartbeatInterval is how often a PING is sent to each peer; 0 means never.
	// A peer silent for HeartbeatInterval and HeartbeatTimeout (0 means the
	// interval once more) is taken for dead. HeartbeatTTL asks the peer to
	// think the same of us after that time; 0 asks nothing. It is sent in
	// tenths of a second, at most 6553.5 s.
	HeartbeatInterval, HeartbeatTimeout, HeartbeatTTL time.Duration

	// MaxFrame is the longest frame that is received, in bytes; 0 means that only
	// MaxSize counts. MaxSize bounds a whole message, in which each frame counts
	// for its length and 32 bytes more; 0 means 64 MiB. Negative means no limit,
	// for both: MaxSize -1 receives everything. A peer that sends more is
	// disconnected. Memory is taken as bytes arrive, not as they are announced.
	MaxFrame, MaxSize int

	// MaxConns is how many accepted connections there may be at a time; 0 means
	// 1024, negative no limit. Further ones are closed at once.
	MaxConns int

	// MaxSubscriptions is how many different subscriptions a peer may have; 0
	// means 65,536, negative no limit. Their bytes together may be 64 times as
	// many.
	MaxSubscriptions int

	// Mandatory lets a ROUTER's Send fail with [ErrUnroutable] where the message
	// would be dropped otherwise, and wait for a peer whose queue is full.
	Mandatory bool

	// Handover lets a new peer take over the identity of one that is connected
	// to a ROUTER; otherwise the new one is refused.
	Handover bool

	// Conflate keeps only the newest message for, and from, each peer. Only PUB,
	// SUB, PUSH, PULL and DEALER do that.
	Conflate bool

	Security Mechanism // nil means NULL: no security

	// Inproc is the space of the names in inproc:// endpoints. Sockets that
	// shall meet there are given the same one.
	Inproc *Inproc

	// Dial and Listen make the connections of tcp:// ("tcp") and ipc://
	// ("unix"); nil means package net. Here TLS or a simulated network enters.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Listen func(ctx context.Context, network, addr string) (net.Listener, error)

	Trace *Trace // nil: nobody watches
}

// A Trace is told what happens to a socket's connections. Any function may be
// nil. They are called while it happens, several at a time, and must neither
// wait nor call the socket's methods.
type Trace struct {
	// Listening: Bind succeeded.
	Listening func(endpoint string)

	// Connected: the handshake with a peer is done. For inproc it has none.
	Connected func(Peer)

	// Disconnected: that connection has ended; err says why, and is nil if the
	// socket itself closed it.
	Disconnected func(p Peer, err error)

	// Retry: a connection could not be made, failed in its handshake, or was
	// lost. The next attempt comes after wait; if wait is negative there will be
	// none.
	Retry func(endpoint string, err error, wait time.Duration)

	// Refused: an incoming connection ended before it became a peer.
	Refused func(endpoint string, remote net.Addr, err error)

	// Dropped: n messages were thrown away: to a peer whose queue is full, or
	// that were waiting for one that has gone for good.
	Dropped func(p Peer, n int)
}

// A Peer is the other end of a connection.
type Peer struct {
	Endpoint string // the one we bound or connected
	Remote   string // network address; empty for inproc
	Type     Type   // of its socket
	Identity []byte // what it calls itself, or what our ROUTER calls it
	User     string // who it is, if [Config.Security] found out
}

// Stats counts what has passed a socket so far.
type Stats struct {
	Sent     uint64      // messages put into queues; a PUB counts one for each subscriber
	Received uint64      // messages taken out of queues
	Dropped  uint64      // messages thrown away: see [Trace]
	Peers    []PeerStats // those of now
}

// PeerStats counts what has passed between a socket and one peer, or one
// connected endpoint whose peer may be away just now.
type PeerStats struct {
	Peer
	Connected      bool   // now
	Sent, Received uint64 // messages accepted for it, and received from it
	Dropped        uint64 // messages for it that were thrown away
	Queued         int    // messages that wait to be sent
	Waiting        int    // messages that came and wait to be received
}

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	def := func(v *int, n int) {
		if *v == 0 {
			*v = n
		}
	}
	dur := func(v *time.Duration, n time.Duration) {
		if *v == 0 {
			*v = n
		}
	}
	const unlimited = int(^uint(0) >> 1)
	def(&d.SendHWM, 1000)
	def(&d.RecvHWM, 1000)
	def(&d.MaxSize, 64<<20)
	def(&d.MaxConns, 1024)
	def(&d.MaxSubscriptions, 1<<16)
	for _, v := range []*int{&d.SendHWM, &d.RecvHWM, &d.MaxSize, &d.MaxConns, &d.MaxSubscriptions} {
		if *v < 0 {
			*v = unlimited
		}
	}
	if d.MaxFrame <= 0 {
		d.MaxFrame = unlimited
	}
	dur(&d.Linger, time.Second)
	dur(&d.ReconnectMin, 100*time.Millisecond)
	d.ReconnectMin = max(d.ReconnectMin, time.Millisecond)
	dur(&d.ReconnectMax, 2*time.Second)
	d.ReconnectMax = max(d.ReconnectMax, d.ReconnectMin)
	dur(&d.HandshakeTimeout, 30*time.Second)
	dur(&d.HeartbeatTimeout, d.HeartbeatInterval)
	if d.Dial == nil {
		d.Dial = new(net.Dialer).DialContext
	}
	if d.Listen == nil {
		d.Listen = new(net.ListenConfig).Listen
	}
	if d.Trace == nil {
		d.Trace = new(Trace)
	}
	return d
}
