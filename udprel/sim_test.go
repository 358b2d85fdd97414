package udprel_test

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

var hostA, hostB = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")

// A pair is two ends joined by a simulated network.
type pair struct {
	net            *simnet.Network
	a, b           *udprel.Endpoint
	client, server *udprel.Conn
	sockA          *simnet.PacketConn
	listener       *udprel.Listener
}

func newPair(t *testing.T, n *simnet.Network, ca, cb *udprel.Config) *pair {
	t.Helper()
	p := &pair{net: n}
	var err error
	p.sockA, err = n.Host(hostA).ListenPacket("udp", "10.0.0.1:1000")
	require.NoError(t, err)
	pb, err := n.Host(hostB).ListenPacket("udp", "10.0.0.2:2000")
	require.NoError(t, err)
	require.NoError(t, p.sockA.SetReadBuffer(4<<20))
	require.NoError(t, pb.SetReadBuffer(4<<20))
	p.a, p.b = udprel.NewEndpoint(p.sockA, ca), udprel.NewEndpoint(pb, cb)
	l, err := p.b.Listen()
	require.NoError(t, err)
	p.client, err = p.a.Dial(t.Context(), p.b.Addr())
	require.NoError(t, err)
	p.listener = l
	return p
}

// accept waits for the server's end, which takes a round trip longer than Dial.
func (p *pair) accept(t *testing.T) {
	t.Helper()
	var err error
	p.server, err = p.listener.AcceptConn(t.Context())
	require.NoError(t, err)
}

// pass lets virtual time go by; outside of a bubble it panics.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (p *pair) close() {
	p.a.Close()
	p.b.Close()
	p.net.Close()
}

func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// transfer sends data from client to server and returns how long that took.
func (p *pair) transfer(t *testing.T, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	errs := make(chan error, 1)
	go func() {
		_, err := p.client.Write(data)
		if err == nil {
			err = p.client.CloseWrite()
		}
		errs <- err
	}()
	if p.server == nil {
		p.accept(t)
	}
	got, err := io.ReadAll(p.server)
	took := time.Since(start)
	require.NoError(t, err)
	require.NoError(t, <-errs)
	require.True(t, bytes.Equal(data, got), "the data differs: %d bytes of %d", len(got), len(data))
	return took
}
