package udprel

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSockets sends batches in every way there is; the same datagrams arrive.
func TestSockets(t *testing.T) {
	open := func() *linuxSocket {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { pc.Close() })
		return newSocket(pc).(*linuxSocket)
	}
	data := make([]byte, 10_500)
	for i := range data {
		data[i] = byte(i / 1000)
	}
	for _, test := range []struct {
		name string
		send func(s *linuxSocket, to netip.AddrPort) error
	}{
		{"cut by the kernel, or as it can", func(s *linuxSocket, to netip.AddrPort) error { return s.send(data, 1000, to) }},
		{"a list", func(s *linuxSocket, to netip.AddrPort) error { return s.sendList(data, 1000, to) }},
		{"one by one", func(s *linuxSocket, to netip.AddrPort) error { return s.plainSocket.send(data, 1000, to) }},
		{"any net.PacketConn", func(s *linuxSocket, to netip.AddrPort) error {
			return plainSocket{struct{ net.PacketConn }{s.pc}}.send(data, 1000, to)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := open(), open()
			to, err := addrPort(b.pc.LocalAddr())
			require.NoError(t, err)
			from, err := addrPort(a.pc.LocalAddr())
			require.NoError(t, err)
			require.NoError(t, b.pc.SetReadDeadline(time.Now().Add(10*time.Second)))
			require.NoError(t, test.send(a, to))
			buf := make([]byte, 1<<16)
			for left := data; len(left) > 0; {
				n, size, src, err := b.receive(buf)
				require.NoError(t, err)
				require.Equal(t, from, src)
				require.True(t, size == 1000 || n == 500, "%d bytes in datagrams of %d", n, size)
				require.True(t, bytes.HasPrefix(left, buf[:n]))
				left = left[n:]
			}
		})
	}
}
