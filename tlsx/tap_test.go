package tlsx_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

// A tapped connection copies what it reads and writes.
type tapped struct {
	net.Conn
	in, out io.Writer
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Write(p[:n])
	return n, err
}

func (c *tapped) Write(p []byte) (int, error) {
	c.out.Write(p)
	return c.Conn.Write(p)
}

// overhear lets both sides converse and returns what a tap made of it.
func overhear(t *testing.T, c *tlsx.Client, s *tlsx.Server) (*[]tlsx.Event, *tlsx.Conn, outcome) {
	t.Helper()
	a, b := tcpPair(t)
	events := new([]tlsx.Event)
	tap := &tlsx.Tap{Event: func(e tlsx.Event) { *events = append(*events, e) }}
	cc, err := c.Conn(&tapped{a, tap.Server(), tap.Client()})
	require.NoError(t, err)
	sc, err := s.Conn(b)
	require.NoError(t, err)
	o := converse(cc, sc)
	return events, cc, o
}

func messages(events []tlsx.Event, fromClient bool) (list []tlsx.Message) {
	for _, e := range events {
		if e.FromClient == fromClient {
			list = append(list, e.Messages...)
		}
	}
	return list
}

// TestEavesdropper: of a connection under TLS 1.3 the two hellos can be read, and
// the sizes of what follows; under TLS 1.2 the certificates too, also the
// client's.
func TestEavesdropper(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, w.server)
		c.MaxVersion, c.Identity, c.NextProtos, s.NextProtos = version, fixed(w.client), []string{"upper"}, []string{"upper"}
		s.ClientCAs = []*x509.Certificate{w.root.Cert}
		heard, cc, o := overhear(t, c, s)
		events := *heard
		require.NoError(t, o.client)
		require.NoError(t, o.server)

		fromClient, fromServer := messages(events, true), messages(events, false)
		hello := fromClient[0].ClientHello
		require.Equal(t, "localhost", hello.ServerName)
		require.Equal(t, []string{"upper"}, hello.Protocols)
		answer := fromServer[0].ServerHello
		require.Equal(t, version, answer.Version)
		require.Equal(t, cc.ConnectionState().CipherSuite, answer.CipherSuite)

		var seen []string
		for _, m := range append(fromClient, fromServer...) {
			for _, c := range m.Certificates {
				seen = append(seen, tlsx.Title(c))
			}
		}
		var narration strings.Builder
		room := 0
		for _, e := range events {
			require.NoError(t, e.Err)
			narration.WriteString(e.String() + "\n")
			require.NotEmpty(t, e.String())
			if e.FromClient && e.Encrypted && e.Type == 23 {
				room = e.Content
				if room == 5 {
					break
				}
			}
		}
		require.Equal(t, 5, room, "the five bytes of hola\\n can be counted\n%s", narration.String())
		text := narration.String()
		require.Contains(t, text, "client -> server: handshake")
		require.Contains(t, text, "ClientHello for localhost")
		require.Contains(t, text, "ServerHello, "+tls.VersionName(version))
		if version == tls.VersionTLS12 {
			require.Equal(t, []string{"jose", "Test Intermediate", "server.test", "Test Intermediate"}, seen)
			require.Contains(t, text, `Certificate of "server.test", "Test Intermediate"`)
			require.Equal(t, "upper", answer.Protocol)
		} else {
			require.Empty(t, seen)
			require.Len(t, fromClient, 1)
			require.Len(t, fromServer, 1)
			require.Empty(t, answer.Protocol)
		}
	})
}

// TestTapSplits: the events do not depend on how the bytes come.
func TestTapSplits(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		a, b := tcpPair(t)
		var sent, received strings.Builder
		c := clientOf(w)
		c.MaxVersion = version
		cc, err := c.Conn(&tapped{a, &received, &sent})
		require.NoError(t, err)
		sc, err := serverOf(w, w.server).Conn(b)
		require.NoError(t, err)
		o := converse(cc, sc)
		require.NoError(t, o.client)

		read := func(size func() int) (lines []string) {
			tap := &tlsx.Tap{Event: func(e tlsx.Event) { lines = append(lines, e.String()) }}
			// All of the client's hello, all of the server, the rest of the client.
			hello, head, err := tlsx.ReadClientHello(strings.NewReader(sent.String()))
			require.NoError(t, err)
			require.NotNil(t, hello)
			for _, part := range []struct {
				to   io.Writer
				data string
			}{{tap.Client(), string(head)}, {tap.Server(), received.String()}, {tap.Client(), sent.String()[len(head):]}} {
				for data := part.data; len(data) > 0; {
					n := min(size(), len(data))
					k, err := part.to.Write([]byte(data[:n]))
					require.NoError(t, err)
					require.Equal(t, n, k)
					data = data[n:]
				}
			}
			return lines
		}
		whole := read(func() int { return 1 << 20 })
		require.Greater(t, len(whole), 5)
		require.Equal(t, whole, read(func() int { return 1 }))
		dice := rand.New(rand.NewPCG(1, 2))
		require.Equal(t, whole, read(func() int { return 1 + dice.IntN(40) }))
	})
}

// TestTapAlert: alerts in clear are read, and encrypted ones are not.
func TestTapAlert(t *testing.T) {
	w := theWorld()
	c, s := clientOf(w), serverOf(w, w.server)
	c.MaxVersion, s.MinVersion = tls.VersionTLS12, tls.VersionTLS13
	heard, _, o := overhear(t, c, s)
	require.Error(t, o.client)
	last := (*heard)[len(*heard)-1]
	require.NotNil(t, last.Alert)
	require.EqualValues(t, 70, *last.Alert)
	require.EqualValues(t, 2, last.Level)
	require.Equal(t, "server -> client: alert, 2 bytes: protocol version not supported", last.String())
}

// TestTapGarbage: what is no TLS is reported once and then passed over, in each
// direction for itself.
func TestTapGarbage(t *testing.T) {
	for _, test := range []struct {
		data   string
		reason tlsx.Reason // "" for a MessageError
	}{
		{"GET / HTTP/1.1\r\n\r\n", tlsx.NotTLS},
		{"\x16\x02\x00\x00\x05hello", tlsx.NotTLS},
		{"\x16\x03\x01\x00\x00", ""},
		{"\x16\x03\x01\x40\x01", ""},
		{"\x17\x03\x03\xff\xff", ""},
		{"\x15\x03\x03\x00\x03abc", ""},
		{string(records("\x01\xff\xff\xff", 4)), ""},
		{string(records("\x0b\x05\x00\x00", 4)), ""},
		{string(records("\x01\x00\x00\x01x", 5)), ""},
		{string(records("\x0b"+u24(u24(u24("no certificate"))), 100)), ""},
		{string(records("\x0b"+u24(u24(strings.Repeat(u24("x"), 17))), 100)), ""},
	} {
		var events []tlsx.Event
		tap := &tlsx.Tap{Event: func(e tlsx.Event) { events = append(events, e) }}
		for range 3 {
			n, err := io.WriteString(tap.Server(), test.data)
			require.NoError(t, err)
			require.Equal(t, len(test.data), n)
		}
		require.Len(t, events, 1, "%q", test.data)
		require.Error(t, events[0].Err)
		require.NotEmpty(t, events[0].String())
		if test.reason != "" {
			require.Equal(t, test.reason, refusal(t, events[0].Err).Reason)
		} else {
			_, ok := errors.AsType[*tlsx.MessageError](events[0].Err)
			require.True(t, ok, "%v", events[0].Err)
		}
		tap.Client().Write(records(chromish, 100))
		require.NotNil(t, events[len(events)-1].Messages[0].ClientHello)
	}
	var silent tlsx.Tap // nobody listens
	silent.Client().Write(records(chromish, 100))
}

// TestTapConcurrent: both directions may come from a goroutine each.
func TestTapConcurrent(t *testing.T) {
	n := 0
	tap := &tlsx.Tap{Event: func(tlsx.Event) { n++ }}
	var wg sync.WaitGroup
	for _, w := range []io.Writer{tap.Client(), tap.Server()} {
		wg.Go(func() {
			for range 100 {
				w.Write(records(chromish, 1<<14))
			}
		})
	}
	wg.Wait()
	require.Equal(t, 200, n)
}
