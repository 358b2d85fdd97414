package tlsx_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// clientOf and serverOf are the usual two sides, at noon.
func clientOf(w *world) *tlsx.Client {
	return &tlsx.Client{Name: "localhost", Roots: []*x509.Certificate{w.root.Cert}, Now: func() time.Time { return w.now }}
}

func serverOf(w *world, cert *tls.Certificate) *tlsx.Server {
	return &tlsx.Server{Identities: []*tlsx.Identity{fixed(cert)}, Now: func() time.Time { return w.now }}
}

// bothVersions runs a test under TLS 1.2 and 1.3.
func bothVersions(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, v := range versions {
		t.Run(tls.VersionName(v), func(t *testing.T) { f(t, v) })
	}
}

func TestHandshake(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, w.server)
		c.MaxVersion = version
		s.ClientCAs = []*x509.Certificate{w.root.Cert}
		c.Identity = fixed(w.client)
		c.NextProtos, s.NextProtos = []string{"upper/2", "upper/1"}, []string{"upper/1"}
		o := meet(t, c, s)
		require.NoError(t, o.client)
		require.NoError(t, o.server)
	})
	// The newest version is the default.
	a, b := tcpPair(t)
	cc, err := clientOf(w).Conn(a)
	require.NoError(t, err)
	sc, err := serverOf(w, w.server).Conn(b)
	require.NoError(t, err)
	o := converse(cc, sc)
	require.NoError(t, o.client)
	require.NoError(t, o.server)
	require.EqualValues(t, tls.VersionTLS13, cc.ConnectionState().Version)
}

// TestServerRefused: each fault of a server's certificate, by its reason on the
// client's side, and on the server's, which gets an alert of one byte that is
// "bad certificate" whatever the fault.
func TestServerRefused(t *testing.T) {
	w := theWorld()
	for _, test := range []struct {
		name   string
		cert   *tls.Certificate
		reason tlsx.Reason
	}{
		{"expired", w.expired, tlsx.Expired},
		{"future", w.future, tlsx.NotYetValid},
		{"wrongname", w.wrongName, tlsx.WrongName},
		{"wronguse", w.wrongUse, tlsx.WrongUse},
		{"toodeep", w.toodeep, tlsx.PathTooLong},
		{"other-server", w.otherServer, tlsx.UnknownAuthority},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothVersions(t, func(t *testing.T, version uint16) {
				c, s := clientOf(w), serverOf(w, test.cert)
				c.MaxVersion = version
				o := meet(t, c, s)
				mine := refusal(t, o.client)
				require.Equal(t, test.reason, mine.Reason, "%v", mine)
				require.False(t, mine.Remote)
				require.NotNil(t, mine.Cert)
				var verification *tls.CertificateVerificationError
				require.ErrorAs(t, o.client, &verification) // what crypto/tls said is not lost

				theirs := refusal(t, o.server)
				require.Equal(t, test.reason, theirs.Reason, "%v", theirs)
				require.True(t, theirs.Remote)
				require.True(t, theirs.Inferred)
				require.EqualValues(t, 42, theirs.Alert)
				require.True(t, mine.Cert.Equal(theirs.Cert) || test.reason == tlsx.UnknownAuthority)
			})
		})
	}
}

// TestClientRefused: each fault of a client's certificate, on both sides. Under
// TLS 1.3 the client learns of it by its first read, after a handshake that
// went well for it.
func TestClientRefused(t *testing.T) {
	w := theWorld()
	for _, test := range []struct {
		name   string
		cert   *tls.Certificate
		reason tlsx.Reason
	}{
		{"none", nil, tlsx.NoCertificate},
		{"expired-client", w.expiredClient, tlsx.Expired},
		{"wronguse", w.wrongUseClient, tlsx.WrongUse},
		{"other-client", w.otherClient, tlsx.UnknownAuthority},
		{"toodeep", w.toodeepClient, tlsx.PathTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothVersions(t, func(t *testing.T, version uint16) {
				c, s := clientOf(w), serverOf(w, w.server)
				s.ClientCAs = []*x509.Certificate{w.root.Cert}
				c.MaxVersion = version
				c.SendUnlisted = true
				if test.cert != nil {
					c.Identity = fixed(test.cert)
				}
				o := meet(t, c, s)
				mine := refusal(t, o.server)
				require.Equal(t, test.reason, mine.Reason, "%v", mine)
				require.False(t, mine.Remote)
				theirs := refusal(t, o.client)
				require.Equal(t, test.reason, theirs.Reason, "%v", theirs)
				require.True(t, theirs.Remote)
			})
		})
	}
}

// TestWithheld: a client whose certificate has an issuer that the server does
// not list keeps it to itself. The server sees none at all; the client can tell
// the true reason.
func TestWithheld(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, w.server)
		s.ClientCAs = []*x509.Certificate{w.root.Cert}
		c.MaxVersion, c.Identity = version, fixed(w.otherClient)
		o := meet(t, c, s)
		server := refusal(t, o.server)
		require.Equal(t, tlsx.NoCertificate, server.Reason)
		require.Contains(t, server.Detail, `may have one from another authority and withhold it, since this server accepts only those from "Test Root"`)
		client := refusal(t, o.client)
		require.Equal(t, tlsx.UnknownAuthority, client.Reason)
		require.True(t, client.Inferred)
		require.Contains(t, client.Detail, `our path ends with the authority "Other Root", the server trusts "Test Root"; so our certificate was not even sent`)

		s.ClientOptional = true // then it may come in, unknown
		o = meet(t, c, s)
		require.NoError(t, o.client)
		require.NoError(t, o.server)
	})
}

// TestEarlyWriter: a client that writes a lot before it reads still learns why it
// was refused, although the server closes with data unread.
func TestEarlyWriter(t *testing.T) {
	w := theWorld()
	a, b := tcpPair(t)
	c, s := clientOf(w), serverOf(w, w.server)
	s.ClientCAs = []*x509.Certificate{w.root.Cert}
	cc, err := c.Conn(a)
	require.NoError(t, err)
	sc, err := s.Conn(b)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		sc.Handshake()
		sc.Close()
	})
	defer wg.Wait()
	defer cc.Close()
	require.NoError(t, cc.SetDeadline(time.Now().Add(20*time.Second)))
	big := make([]byte, 16<<10)
	for err == nil {
		_, err = cc.Write(big)
	}
	// The writer is told if the alert can still be read, or else the reader.
	if e, ok := errors.AsType[*tlsx.RefusalError](err); ok {
		require.Equal(t, tlsx.NoCertificate, e.Reason)
		return
	}
	_, err = cc.Read(big)
	require.Equal(t, tlsx.NoCertificate, refusal(t, err).Reason)
}

// TestWrongVersion: no version in common, told on both sides.
func TestWrongVersion(t *testing.T) {
	w := theWorld()
	c, s := clientOf(w), serverOf(w, w.server)
	c.MaxVersion, s.MinVersion = tls.VersionTLS12, tls.VersionTLS13
	o := meet(t, c, s)
	require.Equal(t, tlsx.WrongVersion, refusal(t, o.client).Reason)
	require.True(t, refusal(t, o.client).Remote)
	require.Equal(t, tlsx.WrongVersion, refusal(t, o.server).Reason)

	for _, c := range []struct{ low, high uint16 }{{tls.VersionTLS11, 0}, {0, tls.VersionTLS10}, {tls.VersionTLS13, tls.VersionTLS12}} {
		s.MinVersion, s.MaxVersion = c.low, c.high
		_, err := s.Config()
		require.Error(t, err)
	}
}

func TestWrongProtocol(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, w.server)
		c.MaxVersion, c.NextProtos, s.NextProtos = version, []string{"lower"}, []string{"upper"}
		o := meet(t, c, s)
		require.Equal(t, tlsx.WrongProtocol, refusal(t, o.client).Reason)
		require.Equal(t, tlsx.WrongProtocol, refusal(t, o.server).Reason)
	})
}

// TestPlaintext: who speaks no TLS to a TLS port is told from who is cut off,
// and the server goes on.
func TestPlaintext(t *testing.T) {
	w := theWorld()
	for _, test := range []struct {
		sends, words string
		reason       tlsx.Reason
	}{
		{"GET / HTTP/1.1\r\n\r\n", "a request in HTTP without TLS", tlsx.NotTLS},
		{"SSH-2.0-OpenSSH\r\n", "SSH", tlsx.NotTLS},
		{"\x00\x00\x00\x05hello", "no TLS", tlsx.NotTLS},
		{"\x16\x03\x01\x00\x50\x01\x00", "in the midst of the handshake", tlsx.CutOff},
		{"\x16", "in the midst of the handshake", tlsx.CutOff},
		{"", "in the midst of the handshake", tlsx.CutOff},
	} {
		a, b := tcpPair(t)
		s, err := serverOf(w, w.server).Conn(b)
		require.NoError(t, err)
		_, err = io.WriteString(a, test.sends)
		require.NoError(t, err)
		require.NoError(t, a.(*net.TCPConn).CloseWrite())
		e := refusal(t, s.Handshake())
		require.Equal(t, test.reason, e.Reason, "%q", test.sends)
		require.Contains(t, e.Detail, test.words)
		require.Equal(t, error(e), s.Handshake(), "the second time too")
	}
	// The other way round: a client at a port without TLS.
	a, b := tcpPair(t)
	_, err := io.WriteString(b, "220 mail.test ESMTP\r\n")
	require.NoError(t, err)
	c, err := clientOf(w).Conn(a)
	require.NoError(t, err)
	e := refusal(t, c.Handshake())
	require.Equal(t, tlsx.NotTLS, e.Reason)
	require.Contains(t, e.Detail, "SMTP")
}

// TestTruncatedHandshake cuts the server's flight at many places: the client
// always ends with a clear error.
func TestTruncatedHandshake(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		for at := 0; ; at += 97 {
			require.Less(t, at, 4000, "the flight is shorter than that")
			a, b := tcpPair(t)
			c := clientOf(w)
			c.MaxVersion = version
			cc, err := c.Conn(a)
			require.NoError(t, err)
			sc, err := serverOf(w, w.server).Conn(&cutConn{Conn: b, left: at})
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() { sc.Handshake() })
			err = cc.Handshake()
			wg.Wait()
			if err == nil { // that was all of it
				require.Greater(t, at, 900)
				break
			}
			e := refusal(t, err)
			require.Equal(t, tlsx.CutOff, e.Reason, "after %d bytes: %v", at, e)
		}
	})
}

// A cutConn closes after some bytes have been written.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) > c.left {
		n, _ := c.Conn.Write(p[:c.left])
		c.Conn.(*net.TCPConn).CloseWrite()
		c.left = 0
		return n, io.ErrClosedPipe
	}
	c.left -= len(p)
	return c.Conn.Write(p)
}

// TestHandshakeTimeout: a peer that says nothing holds a connection for the time
// that is configured, no longer; a context ends it before.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now())
		for _, test := range []struct {
			set, want time.Duration
		}{{0, 10 * time.Second}, {time.Minute, time.Minute}} {
			a, b := net.Pipe()
			s := serverOf(w, w.server)
			s.HandshakeTimeout = test.set
			c, err := s.Conn(b)
			require.NoError(t, err)
			start := time.Now()
			err = c.HandshakeContext(background)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "no handshake within "+test.want.String())
			require.Equal(t, test.want, time.Since(start))
			a.Close()
			c.Close()
		}
		a, b := net.Pipe()
		defer a.Close()
		c, err := serverOf(w, w.server).Conn(b)
		require.NoError(t, err)
		why := errors.New("no longer wanted")
		ctx, cancel := context.WithCancelCause(background)
		time.AfterFunc(time.Second, func() { cancel(why) })
		start := time.Now()
		require.ErrorIs(t, c.HandshakeContext(ctx), why)
		require.Equal(t, time.Second, time.Since(start))
		c.Close()
	})
}

// TestCloseUnblocks: Close ends a handshake that waits.
func TestCloseUnblocks(t *testing.T) {
	w := theWorld()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		c, err := serverOf(w, w.server).Conn(b)
		require.NoError(t, err)
		done := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		start := time.Now()
		c.Close()
		require.Error(t, <-done)
		require.Zero(t, time.Since(start))
	})
}

// simPair returns the two ends of a stream over a simulated network with a delay
// of 20 ms each way.
func simPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	n := &simnet.Network{Link: simnet.Link{Delay: 20 * time.Millisecond}}
	ln, err := n.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":443")
	require.NoError(t, err)
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := ln.Accept()
		accepted <- conn
	}()
	client, err = n.Host(netip.MustParseAddr("10.0.0.2")).Dial("tcp", "10.0.0.1:443")
	require.NoError(t, err)
	server = <-accepted
	require.NotNil(t, server)
	ln.Close()
	t.Cleanup(func() { n.Close() })
	return client, server
}

// TestRoundTrips: what the handshake costs on a network: TLS 1.3 one round trip
// until the client may speak, TLS 1.2 two.
func TestRoundTrips(t *testing.T) {
	bothVersions(t, func(t *testing.T, version uint16) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, time.Now())
			a, b := simPair(t)
			c := clientOf(w)
			c.MaxVersion = version
			cc, err := c.Conn(a)
			require.NoError(t, err)
			sc, err := serverOf(w, w.server).Conn(b)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				defer sc.Close()
				io.Copy(sc, sc)
			})
			start := time.Now()
			require.NoError(t, cc.Handshake())
			want := 40 * time.Millisecond
			if version == tls.VersionTLS12 {
				want *= 2
			}
			require.Equal(t, want, time.Since(start).Round(time.Millisecond))
			cc.Close()
			wg.Wait()
		})
	})
}

// TestVirtualTime: a certificate that expires while the program runs.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now())
		try := func() outcome {
			a, b := simPair(t)
			c, err := (&tlsx.Client{Name: "localhost", Roots: []*x509.Certificate{w.root.Cert}}).Conn(a)
			require.NoError(t, err)
			s, err := (&tlsx.Server{Identities: []*tlsx.Identity{fixed(w.server)}}).Conn(b)
			require.NoError(t, err)
			return converse(c, s)
		}
		o := try()
		require.NoError(t, o.client)
		require.NoError(t, o.server)
		time.Sleep(91 * day)
		o = try()
		require.Equal(t, tlsx.Expired, refusal(t, o.client).Reason)
		require.Equal(t, tlsx.Expired, refusal(t, o.server).Reason)
	})
}

// TestHugeChainLive: a server that sends hundreds of certificates is refused
// quickly, by a clear error.
func TestHugeChainLive(t *testing.T) {
	w := theWorld()
	bomb := &tls.Certificate{PrivateKey: w.otherServer.PrivateKey, Certificate: w.otherServer.Certificate[:1:1]}
	for range 400 {
		bomb.Certificate = append(bomb.Certificate, w.toodeepCA.Cert.Raw)
	}
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, bomb)
		c.MaxVersion = version
		o := meet(t, c, s)
		e := refusal(t, o.client)
		require.Equal(t, tlsx.BadCertificate, e.Reason)
		require.Contains(t, e.Detail, "401 certificates were sent")
		require.Error(t, o.server)
	})
	for range 2000 {
		bomb.Certificate = append(bomb.Certificate, w.toodeepCA.Cert.Raw)
	}
	o := meet(t, clientOf(w), serverOf(w, bomb))
	require.Error(t, o.client) // more than crypto/tls reads as one message
	require.Error(t, o.server)
}

// TestListener: connections that are refused, or say nothing, do not keep
// others from being served.
func TestListener(t *testing.T) {
	w := theWorld()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := serverOf(w, w.server).Listener(tcp)
	require.NoError(t, err)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	silent, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	for range 3 {
		rude, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		io.WriteString(rude, "GET / HTTP/1.0\r\n\r\n")
		rude.Close()
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		c, err := clientOf(w).Conn(nc)
		require.NoError(t, err)
		_, err = io.WriteString(c, "hola")
		require.NoError(t, err)
		buf := make([]byte, 4)
		_, err = io.ReadFull(c, buf)
		require.NoError(t, err)
		require.Equal(t, "hola", string(buf))
		require.NoError(t, c.Close())
	}
}

// TestSNI: the certificate is chosen by the name that the client asks for; for a
// name that nobody has the first is sent, so that the client can say what is
// wrong.
func TestSNI(t *testing.T) {
	w := theWorld()
	two, err := w.intermediate.Issue(tlsx.Template{Names: []string{"two.test", "*.wild.test"}, NotBefore: noon.Add(-day)})
	require.NoError(t, err)
	s := serverOf(w, w.server)
	s.Identities = append(s.Identities, fixed(two))
	for name, want := range map[string]*tls.Certificate{"localhost": w.server, "two.test": two, "a.wild.test": two, "127.0.0.1": w.server} {
		a, b := tcpPair(t)
		c := clientOf(w)
		c.Name = name
		cc, err := c.Conn(a)
		require.NoError(t, err)
		sc, err := s.Conn(b)
		require.NoError(t, err)
		o := converse(cc, sc)
		require.NoError(t, o.client, name)
		require.NoError(t, o.server, name)
		require.True(t, cc.ConnectionState().PeerCertificates[0].Equal(want.Leaf), name)
	}
	c := clientOf(w)
	c.Name = "three.test"
	o := meet(t, c, s)
	require.Contains(t, refusal(t, o.client).Detail, "valid for localhost")
	require.Equal(t, tlsx.WrongName, refusal(t, o.server).Reason)

	// Who dials an address sends no name; the server knows which address it was.
	c.Name = "127.0.0.1"
	o = meet(t, c, serverOf(w, w.wrongName))
	require.Equal(t, tlsx.WrongName, refusal(t, o.client).Reason)
	theirs := refusal(t, o.server)
	require.Equal(t, tlsx.WrongName, theirs.Reason)
	require.True(t, theirs.Inferred)
	require.Contains(t, theirs.Detail, "asked for 127.0.0.1, valid for elsewhere.test")
	o = meet(t, c, serverOf(w, w.otherServer))
	require.Equal(t, tlsx.UnknownAuthority, refusal(t, o.server).Reason)
}

// TestReload: new files are used by the next handshake, without a restart; half
// a change is not.
func TestReload(t *testing.T) {
	w := theWorld()
	dir := t.TempDir()
	chainFile, keyFile := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	put := func(file string, data []byte, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, tlsx.WriteFile(file, data, 0o600, true))
	}
	putKey := func(c *tls.Certificate) {
		data, err := tlsx.EncodeKey(c.PrivateKey.(crypto.Signer), nil)
		put(keyFile, data, err)
	}
	putChain := func(c *tls.Certificate) { put(chainFile, tlsx.EncodeCertificates(chain(t, c)...), nil) }
	putKey(w.server)
	putChain(w.server)

	var told []error
	id := &tlsx.Identity{ChainFile: chainFile, KeyFile: keyFile, Interval: time.Nanosecond, OnReload: func(err error) { told = append(told, err) }}
	s := serverOf(w, nil)
	s.Identities = []*tlsx.Identity{id}
	cfg, err := s.Config()
	require.NoError(t, err)
	serves := func() *x509.Certificate {
		t.Helper()
		a, b := tcpPair(t)
		c, err := clientOf(w).Conn(a)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { tls.Server(b, cfg).Handshake() })
		require.NoError(t, c.Handshake())
		wg.Wait()
		return c.ConnectionState().PeerCertificates[0]
	}
	require.True(t, serves().Equal(w.server.Leaf))
	require.Equal(t, []error{nil}, told)

	putKey(w.plain) // the chain is yet to come
	require.True(t, serves().Equal(w.server.Leaf), "the old certificate stays in use")
	require.ErrorIs(t, told[len(told)-1], tlsx.ErrMismatch)
	require.ErrorIs(t, id.Reload(), tlsx.ErrMismatch)
	putChain(w.plain)
	require.True(t, serves().Equal(w.plain.Leaf))
	require.NoError(t, told[len(told)-1])
	n := len(told)
	serves()
	require.Len(t, told, n, "unchanged files are not read again")

	require.NoError(t, os.Remove(keyFile))
	require.True(t, serves().Equal(w.plain.Leaf), "and so it does while a file is missing")
	require.ErrorIs(t, id.Reload(), os.ErrNotExist)

	_, err = (&tlsx.Identity{ChainFile: chainFile, KeyFile: keyFile}).Get()
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestReloadInterval: files are looked at no more often than configured.
func TestReloadInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now())
		dir := t.TempDir()
		files := func(c *tls.Certificate) {
			key, err := tlsx.EncodeKey(c.PrivateKey.(crypto.Signer), nil)
			require.NoError(t, err)
			require.NoError(t, tlsx.WriteFile(filepath.Join(dir, "key"), key, 0o600, true))
			require.NoError(t, tlsx.WriteFile(filepath.Join(dir, "chain"), tlsx.EncodeCertificates(chain(t, c)...), 0o644, true))
		}
		files(w.server)
		id := &tlsx.Identity{ChainFile: filepath.Join(dir, "chain"), KeyFile: filepath.Join(dir, "key")}
		has := func(want *tls.Certificate) {
			t.Helper()
			got, err := id.Get()
			require.NoError(t, err)
			require.True(t, got.Leaf.Equal(want.Leaf))
		}
		has(w.server)
		files(w.plain)
		time.Sleep(999 * time.Millisecond)
		has(w.server)
		time.Sleep(time.Millisecond)
		has(w.plain)
		files(w.server)
		require.NoError(t, id.Reload())
		has(w.server)
	})
}

// TestResumption: sessions are resumed by tickets, unless these are turned off.
func TestResumption(t *testing.T) {
	w := theWorld()
	bothVersions(t, func(t *testing.T, version uint16) {
		for _, off := range []bool{false, true} {
			c, s := clientOf(w), serverOf(w, w.server)
			c.MaxVersion, c.Sessions, s.NoTickets = version, tls.NewLRUClientSessionCache(8), off
			cfg, err := s.Config() // its ticket keys are its own
			require.NoError(t, err)
			for i := range 2 {
				a, b := tcpPair(t)
				cc, err := c.Conn(a)
				require.NoError(t, err)
				var wg sync.WaitGroup
				wg.Go(func() {
					conn := tls.Server(b, cfg)
					io.Copy(conn, conn)
					conn.Close()
				})
				_, err = io.WriteString(cc, "x")
				require.NoError(t, err)
				_, err = cc.Read(make([]byte, 1)) // the ticket comes before it
				require.NoError(t, err)
				require.Equal(t, i == 1 && !off, cc.ConnectionState().DidResume)
				cc.Close()
				wg.Wait()
			}
		}
	})
}

// TestKeyLog: keys are written when asked, in the form of NSS.
func TestKeyLog(t *testing.T) {
	w := theWorld()
	var log bytes.Buffer
	c := clientOf(w)
	c.KeyLog = &log
	o := meet(t, c, serverOf(w, w.server))
	require.NoError(t, o.client)
	require.Contains(t, log.String(), "CLIENT_HANDSHAKE_TRAFFIC_SECRET ")
	cfg, err := clientOf(w).Config()
	require.NoError(t, err)
	require.Nil(t, cfg.KeyLogWriter)
}

func TestConfigErrors(t *testing.T) {
	w := theWorld()
	_, err := (&tlsx.Server{}).Config()
	require.ErrorContains(t, err, "needs an identity")
	_, err = (&tlsx.Client{Roots: []*x509.Certificate{w.root.Cert}}).Conn(nil)
	require.ErrorContains(t, err, "needs the server's name")
	_, err = (&tlsx.Client{Name: "x.test", Identity: &tlsx.Identity{ChainFile: "no.pem", KeyFile: "no.pem"}}).Conn(nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = (&tlsx.Server{Identities: []*tlsx.Identity{{ChainFile: "no.pem"}}}).Listener(nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestAlerts: what an alert of a peer that is not ours becomes. The peer is a
// bare TLS record that follows our first flight.
func TestAlerts(t *testing.T) {
	w := theWorld()
	for alert, reason := range map[byte]tlsx.Reason{
		40: tlsx.Refused, 44: tlsx.Revoked, 45: tlsx.Expired, 48: tlsx.UnknownAuthority, 70: tlsx.WrongVersion,
		80: tlsx.Refused, 112: tlsx.WrongName, 120: tlsx.WrongProtocol, 255: tlsx.Refused,
	} {
		a, b := tcpPair(t)
		c, err := clientOf(w).Conn(a)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			tlsx.ReadClientHello(b)
			b.Write([]byte{21, 3, 3, 0, 2, 2, alert})
			b.Close()
		})
		e := refusal(t, c.Handshake())
		require.Equal(t, reason, e.Reason, "alert %d: %v", alert, e)
		require.True(t, e.Remote)
		require.Equal(t, alert, e.Alert)
		require.Contains(t, e.Error(), "says the peer")
		require.Contains(t, e.Error(), strings.TrimPrefix(tls.AlertError(alert).Error(), "tls: "))
		wg.Wait()
	}
}
