package udprel_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/zocalo-go/zocalo/udprel"
)

// loopback returns both ends of a connection over real sockets.
func loopback(t testing.TB, cfg *udprel.Config) (client, server *udprel.Conn) {
	t.Helper()
	l, err := udprel.Listen("udp", "127.0.0.1:0", cfg)
	require.NoError(t, err)
	defer l.Close()
	client, err = udprel.Dial(context.Background(), "udp", l.Addr().String(), cfg)
	require.NoError(t, err)
	server, err = l.AcceptConn(context.Background())
	require.NoError(t, err)
	return client, server
}

func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		client, server := loopback(t, nil)
		return client, server, func() {
			client.Close()
			server.Close()
		}, nil
	})
}

// TestFamilies dials IPv4 and IPv6 addresses of one listener for both.
func TestFamilies(t *testing.T) {
	l, err := udprel.Listen("udp", ":0", nil)
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for _, test := range []struct{ network, host string }{
		{"udp", "127.0.0.1"}, {"udp4", "localhost"}, {"udp6", "::1"}, {"udp", ""},
	} {
		if test.network == "udp6" && !nettest.SupportsIPv6() {
			continue
		}
		c, err := udprel.Dial(t.Context(), test.network, net.JoinHostPort(test.host, port), nil)
		require.NoError(t, err, "%v", test)
		data := pattern(1 << 20)
		go func() {
			c.Write(data)
			c.Close()
		}()
		s, err := l.Accept()
		require.NoError(t, err)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.NoError(t, s.Close())
	}
}

// TestDialErrors: what can be known without the network is said at once.
func TestDialErrors(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:1"}, {"udp", "127.0.0.1"}, {"udp", "127.0.0.1:no-such-service"}, {"udp4", "[::1]:1"},
	} {
		_, err := udprel.Dial(t.Context(), test.network, test.address, nil)
		require.Error(t, err, "%v", test)
	}
	_, err := udprel.Listen("tcp", "127.0.0.1:0", nil)
	require.Error(t, err)
}
