package testcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/testcert"
)

// shake does a handshake and returns the errors of both sides, after an
// exchange of one byte.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	b, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	a, err := ln.Accept()
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer a.Close()
		s := tls.Server(a, server)
		if serverErr = s.Handshake(); serverErr == nil {
			_, serverErr = s.Write([]byte("x"))
		}
	})
	_, clientErr = tls.Client(b, client).Read(make([]byte, 1))
	b.Close()
	wg.Wait()
	return serverErr, clientErr
}

func TestServer(t *testing.T) {
	server, roots := testcert.Server(t, "mail.test", "10.0.0.1")
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "mail.test", "10.0.0.1"} {
		s, c := shake(t, server, &tls.Config{RootCAs: roots, ServerName: name})
		require.NoError(t, s)
		require.NoError(t, c)
	}
	_, c := shake(t, server, &tls.Config{RootCAs: roots, ServerName: "other.test"})
	require.ErrorContains(t, c, "not other.test")
	_, others := testcert.Server(t)
	_, c = shake(t, server, &tls.Config{RootCAs: others, ServerName: "localhost"})
	require.ErrorContains(t, c, "unknown authority")
}

func TestMutual(t *testing.T) {
	server, client := testcert.Mutual(t)
	s, c := shake(t, server, client)
	require.NoError(t, s)
	require.NoError(t, c)
	client.Certificates = nil
	s, c = shake(t, server, client)
	require.Error(t, s)
	require.Error(t, c)
}

// TestVirtualTime: the certificates are of the present of the test, whichever
// that is.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, roots := testcert.Server(t)
		verify := func() error {
			_, err := server.Certificates[0].Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
			return err
		}
		require.NoError(t, verify())
		time.Sleep(25 * time.Hour)
		require.ErrorContains(t, verify(), "expired")
	})
}
