package tlsx_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/zocalo-go/zocalo/tlsx"
)

// noEnd is a validity that no run of an example outlives.
var noEnd = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// An authority, a server and a client of its own, and what the client says of a
// server that is somebody else.
func Example() {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Our Root"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}}
	ln, err := server.Listener(tcp)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()

	for _, name := range []string{"shop.test", "bank.test"} {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		client := &tlsx.Client{Name: name, Roots: []*x509.Certificate{root.Cert}}
		c, err := client.Conn(nc)
		if err != nil {
			fmt.Println(err)
			return
		}
		err = c.Handshake()
		fmt.Println(err)
		if refusal, ok := errors.AsType[*tlsx.RefusalError](err); ok {
			fmt.Println("that is,", refusal.Reason)
		}
		c.Close()
	}
	// Output:
	// <nil>
	// tlsx: wrong-name: asked for bank.test, valid for shop.test (RFC 9525 section 6.3)
	// that is, wrong-name
}

// A path of three certificates, drawn.
func ExampleAuthority() {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}, NotAfter: noEnd})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := root.Intermediate(tlsx.Template{Subject: pkix.Name{CommonName: "Web"}, NotAfter: noEnd})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := web.Issue(tlsx.Template{Names: []string{"shop.test", "127.0.0.1"}, NotAfter: noEnd})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(tlsx.Tree([]*x509.Certificate{root.Cert, web.Cert, cert.Leaf}))
	_, err = web.Intermediate(tlsx.Template{Subject: pkix.Name{CommonName: "More"}})
	fmt.Println(err)
	// Output:
	// Root (root), until 2100-01-01
	// └─ Web (authority), until 2100-01-01
	//    └─ shop.test (server authentication), until 2100-01-01
	// tlsx: intermediate: path-too-long: "Web" allows 0 authorities below it, and there are 1: "More" (RFC 5280 section 6.1.4 (l), (m))
}

// The holder makes key and request, the authority only signs.
func ExampleAuthority_Sign() {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	request, key, err := tlsx.NewRequest(tlsx.Template{
		Subject: pkix.Name{CommonName: "jose"},
		Names:   []string{"jose@mail.test"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	chain, err := root.Sign(request, tlsx.Template{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(chain[0].Subject, chain[0].EmailAddresses)
	_, hasKey := key.Public().(*ecdsa.PublicKey)
	fmt.Println("signed by", chain[0].Issuer, "for a key that jose has:", hasKey)
	// Output:
	// CN=jose [jose@mail.test]
	// signed by CN=Root for a key that jose has: true
}

// Files as a server keeps them: the chain for everybody, the key behind a
// passphrase.
func ExampleIdentity() {
	dir, err := os.MkdirTemp("", "tlsx")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	chainFile, keyFile := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")

	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := tlsx.NewKey(tlsx.ECDSAP256)
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}, Key: key})
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := tlsx.EncodeKey(key, &tlsx.Encryption{Passphrase: "opensesame"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := tlsx.WriteFile(keyFile, secret, 0o600, false); err != nil {
		fmt.Println(err)
		return
	}
	if err := tlsx.WriteFile(chainFile, tlsx.EncodeCertificates(cert.Leaf), 0o644, false); err != nil {
		fmt.Println(err)
		return
	}

	for _, passphrase := range []string{"sesame", "opensesame"} {
		id := &tlsx.Identity{ChainFile: chainFile, KeyFile: keyFile, Passphrase: passphrase}
		got, err := id.Get()
		fmt.Println(got != nil, errors.Is(err, tlsx.ErrPassphrase))
	}
	err = tlsx.WriteFile(keyFile, secret, 0o600, false)
	fmt.Println(errors.Is(err, fs.ErrExist), "- a key is not overwritten unasked")
	// Output:
	// false true
	// true false
	// true - a key is not overwritten unasked
}

// Both sides prove themselves. A client without a certificate is refused, and
// both sides can say why.
func ExampleServer_Conn() {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	roots := []*x509.Certificate{root.Cert}
	server := &tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}, ClientCAs: roots}
	client := &tlsx.Client{Name: "shop.test", Roots: roots}

	a, b := net.Pipe()
	s, err := server.Conn(a)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.Conn(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1)) // does the handshake first
		c.Close()
		done <- err
	}()
	fmt.Println(s.Handshake())
	s.Close()
	fmt.Println(<-done)
	// Output:
	// tlsx: no-certificate: the client sent none; it may have one from another authority and withhold it, since this server accepts only those from "Root" (RFC 8446 section 4.4.2.4)
	// tlsx: no-certificate, says the peer: the server demands a certificate and we have none; the alert was "certificate required" (RFC 8446 section 6.2)
}

// Verify says why not.
func ExampleVerify() {
	day := func(d int) time.Time { return time.Date(2026, 6, d, 0, 0, 0, 0, time.UTC) }
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}, NotBefore: day(1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}, NotBefore: day(1), NotAfter: day(10)})
	if err != nil {
		fmt.Println(err)
		return
	}
	chain := []*x509.Certificate{cert.Leaf}
	trusted := []*x509.Certificate{root.Cert}
	for _, options := range []tlsx.VerifyOptions{
		{Roots: trusted, Name: "shop.test", Time: day(5)},
		{Roots: trusted, Name: "shop.test", Time: day(20)},
		{Roots: []*x509.Certificate{}, Name: "shop.test", Time: day(5)},
	} {
		path, err := tlsx.Verify(chain, options)
		fmt.Println(len(path), err)
	}
	// Output:
	// 2 <nil>
	// 0 tlsx: expired: "shop.test" was valid until 2026-06-10T00:00:00Z, now it is 2026-06-20T00:00:00Z, 10 days later (RFC 5280 section 6.1.3 (a)(2))
	// 0 tlsx: unknown-authority: "shop.test" is signed by "Root", whose certificate is neither trusted nor was it sent; nobody is trusted (RFC 5280 section 6.1.1 (d))
}

// What anybody on the way sees of a connection: whom the client wants and how
// much is said, not what.
func ExampleTap() {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &tlsx.Client{Name: "shop.test", Roots: []*x509.Certificate{root.Cert}}
	server := &tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}, NoTickets: true}
	a, b := net.Pipe()
	s, err := server.Conn(a)
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		defer s.Close()
		io.Copy(io.Discard, s)
	}()

	tap := &tlsx.Tap{Event: func(e tlsx.Event) {
		switch {
		case len(e.Messages) > 0 && e.FromClient:
			fmt.Println("somebody asks for", e.Messages[0].ClientHello.ServerName)
		case e.Encrypted && e.FromClient && e.Content < 30: // the handshake's are longer
			fmt.Println("and says", e.Content, "bytes")
		}
	}}
	c, err := client.Conn(&tapped{b, tap.Server(), tap.Client()}) // copies all that passes
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := io.WriteString(c, "my secret"); err != nil {
		fmt.Println(err)
		return
	}
	c.Close() // says goodbye with an alert of two bytes, encrypted too
	// Output:
	// somebody asks for shop.test
	// and says 9 bytes
	// and says 2 bytes
}

// A fingerprint is what two people compare over the telephone.
func ExampleFingerprint() {
	der := []byte("a certificate, in truth DER")
	fmt.Println(tlsx.Fingerprint(&x509.Certificate{Raw: der})[:23], "...")
	// Output: 10:05:24:03:19:55:6A:38 ...
}
