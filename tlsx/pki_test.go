package tlsx_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

// noon is the present in tests that choose their time.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func called(name string) pkix.Name { return pkix.Name{CommonName: name} }

// The certificates of a small world around one moment, good and faulty. They
// are those that the course's exercises make.
type world struct {
	now                                         time.Time
	root, intermediate, toodeepCA               *tlsx.Authority
	other                                       *tlsx.Authority // another root
	server, client                              *tls.Certificate
	expired, future                             *tls.Certificate
	wrongName, wrongUse, toodeep, toodeepClient *tls.Certificate
	expiredClient, wrongUseClient               *tls.Certificate
	otherServer, otherClient, plain             *tls.Certificate // plain is signed by the root itself
}

var serverNames = []string{"localhost", "server.test", "127.0.0.1", "::1"}

var (
	clientUse = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	serverUse = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
)

// newWorld makes the certificates. They are of the time now.
func newWorld(t testing.TB, now time.Time) *world {
	t.Helper()
	w := &world{now: now}
	authority := func(a *tlsx.Authority, err error) *tlsx.Authority {
		t.Helper()
		require.NoError(t, err)
		return a
	}
	issue := func(a *tlsx.Authority, template tlsx.Template) *tls.Certificate {
		t.Helper()
		if template.NotBefore.IsZero() {
			template.NotBefore = now.Add(-time.Hour)
		}
		if template.Names == nil {
			template.Names = serverNames
		}
		c, err := a.Issue(template)
		require.NoError(t, err)
		return c
	}
	before := now.Add(-30 * day)
	w.root = authority(tlsx.NewAuthority(tlsx.Template{Subject: called("Test Root"), NotBefore: before}))
	w.intermediate = authority(w.root.Intermediate(tlsx.Template{Subject: called("Test Intermediate"), NotBefore: before}))
	w.other = authority(tlsx.NewAuthority(tlsx.Template{Subject: called("Other Root"), NotBefore: before}))
	w.toodeepCA = authority(w.intermediate.Intermediate(tlsx.Template{Subject: called("Too Deep"), NotBefore: before, Faulty: true}))

	w.server = issue(w.intermediate, tlsx.Template{Subject: called("server.test")})
	w.plain = issue(w.root, tlsx.Template{Subject: called("plain")})
	w.client = issue(w.intermediate, tlsx.Template{Subject: called("jose"), Names: []string{"jose@client.test"}, Uses: clientUse})
	w.expired = issue(w.intermediate, tlsx.Template{Subject: called("expired"), NotBefore: now.Add(-10 * day), NotAfter: now.Add(-day)})
	w.future = issue(w.intermediate, tlsx.Template{Subject: called("future"), NotBefore: now.Add(5 * day), NotAfter: now.Add(50 * day)})
	w.wrongName = issue(w.intermediate, tlsx.Template{Subject: called("localhost"), Names: []string{"elsewhere.test"}})
	w.wrongUse = issue(w.intermediate, tlsx.Template{Subject: called("wrong use"), Uses: clientUse})
	w.toodeep = issue(w.toodeepCA, tlsx.Template{Subject: called("toodeep"), Faulty: true})
	w.toodeepClient = issue(w.toodeepCA, tlsx.Template{Subject: called("toodeep client"), Uses: clientUse, Faulty: true})
	w.expiredClient = issue(w.intermediate, tlsx.Template{Subject: called("old jose"), Uses: clientUse, NotBefore: now.Add(-10 * day), NotAfter: now.Add(-day)})
	w.wrongUseClient = issue(w.intermediate, tlsx.Template{Subject: called("a server")})
	w.otherServer = issue(w.other, tlsx.Template{Subject: called("other server")})
	w.otherClient = issue(w.other, tlsx.Template{Subject: called("other jose"), Uses: clientUse})
	return w
}

// theWorld is the world at noon, made once.
var theWorld = sync.OnceValue(func() *world { return newWorld(panicky{}, noon) })

// panicky is a testing.TB for what is made outside a test.
type panicky struct{ testing.TB }

func (panicky) Helper()                           {}
func (panicky) Errorf(format string, args ...any) { panic(format) }
func (panicky) FailNow()                          { panic("failed") }

// rsaKey is an RSA key for all tests: they take long to make.
var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := tlsx.NewKey(tlsx.RSA2048)
	if err != nil {
		panic(err)
	}
	return key
})

func chain(t testing.TB, c *tls.Certificate) []*x509.Certificate {
	t.Helper()
	certs, err := tlsx.Chain(c)
	require.NoError(t, err)
	return certs
}

// refusal returns the refusal that an error must be.
func refusal(t testing.TB, err error) *tlsx.RefusalError {
	t.Helper()
	require.Error(t, err)
	e, ok := errors.AsType[*tlsx.RefusalError](err)
	require.True(t, ok, "no refusal but %T: %v", err, err)
	return e
}

func fixed(c *tls.Certificate) *tlsx.Identity { return &tlsx.Identity{Certificate: c} }

// tcpPair returns the two ends of a TCP connection on this machine.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	server, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// An outcome is how an exchange of one line went on both sides.
type outcome struct{ client, server error }

// converse does the handshake over two ends of a connection. Then the client
// sends a line, the server sends it back, and both close.
func converse(c, s *tlsx.Conn) (o outcome) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer s.Close()
		buf := make([]byte, 100)
		n, err := s.Read(buf)
		if err == nil {
			_, err = s.Write(buf[:n])
		}
		o.server = err
	})
	wg.Go(func() {
		defer c.Close()
		_, err := c.Write([]byte("hola\n"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 5))
		}
		o.client = err
	})
	wg.Wait()
	return o
}

// meet lets a client and a server converse over TCP.
func meet(t testing.TB, c *tlsx.Client, s *tlsx.Server) outcome {
	t.Helper()
	a, b := tcpPair(t)
	cc, err := c.Conn(a)
	require.NoError(t, err)
	sc, err := s.Conn(b)
	require.NoError(t, err)
	return converse(cc, sc)
}

var background = context.Background()
