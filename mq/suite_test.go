package mq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/testcert"
)

// A bench is where the sockets of one test meet: one transport, and what the
// tests of all transports want of it.
type bench struct {
	*testing.T
	transport string
	inproc    Inproc
	server    *tls.Config // of the transport tls, which is tcp with TLS
	client    *tls.Config
}

// onEach runs a test once for every transport that this machine has.
func onEach(t *testing.T, test func(b *bench)) {
	for _, transport := range []string{"tcp", "tcp6", "tls", "ipc", "inproc"} {
		t.Run(transport, func(t *testing.T) {
			if transport == "tcp6" {
				l, err := net.Listen("tcp", "[::1]:0")
				if err != nil {
					t.Skip("no IPv6 on this machine")
				}
				l.Close()
			}
			if transport == "ipc" && runtime.GOOS == "windows" {
				t.Skip("no ipc on Windows")
			}
			b := &bench{T: t, transport: transport}
			if transport == "tls" {
				var roots *x509.CertPool
				b.server, roots = testcert.Server(t, "127.0.0.1")
				b.client = &tls.Config{RootCAs: roots}
			}
			test(b)
		})
	}
}

// socket makes a socket that is closed when the test ends.
func (b *bench) socket(typ Type, cfg ...Config) *Socket {
	b.Helper()
	var c Config
	if len(cfg) > 0 {
		c = cfg[0]
	}
	c.Inproc = &b.inproc
	if b.transport == "tls" {
		c.Dial = (&tls.Dialer{Config: b.client}).DialContext
		c.Listen = func(ctx context.Context, network, addr string) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return tls.NewListener(l, b.server), nil
		}
	}
	if c.ReconnectMin == 0 {
		c.ReconnectMin = 5 * time.Millisecond
	}
	s, err := NewSocket(typ, &c)
	require.NoError(b, err)
	b.Cleanup(func() { assert.NoError(b, s.Close()) })
	return s
}

// endpoint is one to bind; no two are equal.
func (b *bench) endpoint() string {
	switch b.transport {
	case "tcp", "tls":
		return "tcp://127.0.0.1:*"
	case "tcp6":
		return "tcp://[::1]:*"
	case "ipc":
		return "ipc://" + filepath.Join(b.TempDir(), "s")
	default:
		return "inproc://" + b.TempDir()
	}
}

// bind binds s, and returns the endpoint to connect to.
func (b *bench) bind(s *Socket) string {
	b.Helper()
	bound, err := s.Bind(b.Context(), b.endpoint())
	require.NoError(b, err)
	require.False(b, strings.HasSuffix(bound, "*"), bound)
	return bound
}

// join binds the first socket and connects the others to it.
func (b *bench) join(binds *Socket, connect ...*Socket) {
	b.Helper()
	endpoint := b.bind(binds)
	for _, s := range connect {
		require.NoError(b, s.Connect(endpoint))
	}
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func send(t testing.TB, s *Socket, frames ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Send(ctx, Text(frames...)...))
}

func recv(t testing.TB, s *Socket) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := s.Recv(ctx)
	require.NoError(t, err)
	return texts(m)
}

func texts(m Msg) (frames []string) {
	for _, f := range m {
		frames = append(frames, string(f))
	}
	return frames
}

// errNotNow is the cause of the context that makes calls not wait.
var errNotNow = errors.New("not now")

// notWaiting is a context that has ended.
func notWaiting() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNotNow)
	return ctx
}

// nothing checks that no message is there for s.
func nothing(t testing.TB, s *Socket) {
	t.Helper()
	m, err := s.Recv(notWaiting())
	require.ErrorIs(t, err, errNotNow, "%v", m)
}

// subscribed waits until the XPUB sees the subscription to a topic.
func subscribed(t testing.TB, xpub *Socket, topic string) {
	t.Helper()
	require.Equal(t, []string{"\x01" + topic}, recv(t, xpub))
}

// meetings returns a Trace that reports the peers that come and go.
func meetings() (trace *Trace, come, gone chan Peer) {
	come, gone = make(chan Peer, 1000), make(chan Peer, 1000)
	return &Trace{
		Connected:    func(p Peer) { come <- p },
		Disconnected: func(p Peer, _ error) { gone <- p },
	}, come, gone
}

// await waits for something to come out of a channel.
func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "nothing has happened")
	}
	return v
}
