package tlsx_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/zocalo-go/zocalo/tlsx"
)

// FuzzParseClientHello: whatever the bytes, either a clear error or a hello whose
// parts add up to what came.
func FuzzParseClientHello(f *testing.F) {
	for _, s := range []string{chromish, oldHello, clientHello(), clientHello(ext(41, "x")), ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := tlsx.ParseClientHello(msg)
		if err != nil {
			_, ok := errors.AsType[*tlsx.MessageError](err)
			require.True(t, ok, "%v", err)
			require.Nil(t, h)
			return
		}
		require.NotEmpty(t, h.String())
		// Put together again from what was read, it is the same.
		size := 0
		for _, e := range h.Extensions {
			size += 4 + len(e.Data)
		}
		withExtensions := 0
		if len(h.Extensions) > 0 || len(msg) == 4+2+32+1+len(h.SessionID)+2+2*len(h.CipherSuites)+1+len(h.Compression)+2 {
			withExtensions = 2
		}
		require.Equal(t, len(msg), 4+2+32+1+len(h.SessionID)+2+2*len(h.CipherSuites)+1+len(h.Compression)+withExtensions+size)
		// And read from a stream as well, in records.
		if len(msg) > 1<<16 {
			return
		}
		again, read, err := tlsx.ReadClientHello(bytes.NewReader(records(string(msg), 1000)))
		require.NoError(t, err)
		require.Equal(t, h, again)
		require.Len(t, read, len(msg)+5*((len(msg)+999)/1000))
	})
}

func FuzzParseServerHello(f *testing.F) {
	f.Add([]byte("\x02" + u24("\x03\x03", random32, u8("session"), "\x13\x01", "\x00", u16(ext(43, "\x03\x04"), ext(51, "\x00\x1d"+u16(random32))))))
	f.Add([]byte("\x02" + u24("\x03\x03", random32, u8(), "\xc0\x2b", "\x00", u16(ext(16, u16(u8("h2")))))))
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := tlsx.ParseServerHello(msg)
		if err != nil {
			_, ok := errors.AsType[*tlsx.MessageError](err)
			require.True(t, ok, "%v", err)
			return
		}
		require.NotEmpty(t, h.String())
	})
}

// FuzzTap: the events of a stream are the same in one piece and byte by byte,
// and their sizes add up.
func FuzzTap(f *testing.F) {
	f.Add(records(chromish, 30), []byte("\x15\x03\x03\x00\x02\x02\x28"))
	f.Add([]byte("\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x03abc"), records("\x02"+u24("\x03\x03", random32, u8(), "\xc0\x2b", "\x00"), 99))
	f.Add([]byte("GET /"), []byte{})
	f.Fuzz(func(t *testing.T, client, server []byte) {
		hear := func(step int) (lines []string, read int64) {
			tap := &tlsx.Tap{Event: func(e tlsx.Event) {
				lines = append(lines, e.String())
				if e.Err == nil {
					read += int64(5 + e.Size)
				}
			}}
			for _, part := range []struct {
				to   io.Writer
				data []byte
			}{{tap.Client(), client}, {tap.Server(), server}} {
				for i := 0; i < len(part.data); i += step {
					part.to.Write(part.data[i:min(i+step, len(part.data))])
				}
			}
			return lines, read
		}
		whole, read := hear(1 << 20)
		single, again := hear(1)
		require.Equal(t, whole, single)
		require.Equal(t, read, again)
		require.LessOrEqual(t, read, int64(len(client)+len(server)))
	})
}

// FuzzParsePEM: all readers of files, on anything.
func FuzzParsePEM(f *testing.F) {
	w := theWorld()
	key, err := tlsx.EncodeKey(w.server.PrivateKey.(crypto.Signer), nil)
	require.NoError(f, err)
	req, _, err := tlsx.NewRequest(tlsx.Template{Names: []string{"a.test"}, Key: w.server.PrivateKey.(crypto.Signer)})
	require.NoError(f, err)
	list, err := w.root.CRL(1, revoke(w.plain.Leaf), noon, noon.Add(day))
	require.NoError(f, err)
	iv := make([]byte, 16)
	for _, seed := range [][]byte{
		tlsx.EncodeCertificates(w.server.Leaf, w.intermediate.Cert), key, tlsx.EncodeRequest(req), tlsx.EncodeCRL(list),
		pbes2(f, oidPBKDF2, pbkdf2Work{iv, 10}, oidAES256, iv, make([]byte, 32)), pbes2(f, oidScrypt, scryptWork{iv, 2, 1, 1}, oidAES256, iv, make([]byte, 32)),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if certs, err := tlsx.ParseCertificates(data); err == nil {
			again, err := tlsx.ParseCertificates(tlsx.EncodeCertificates(certs...))
			require.NoError(t, err)
			require.Len(t, again, len(certs))
			for _, c := range certs {
				require.NotContains(t, tlsx.Text(c), "\x1b")
			}
			require.NotEmpty(t, tlsx.Tree(certs))
			_, _ = tlsx.Verify(certs, tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Name: "localhost", Time: noon})
		}
		if req, err := tlsx.ParseRequest(data); err == nil {
			require.NotEmpty(t, tlsx.Text(req))
		}
		if list, err := tlsx.ParseCRL(data); err == nil {
			require.NotEmpty(t, tlsx.Text(list))
			_, _ = tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon, CRLs: []*x509.RevocationList{list}})
		}
		if b, _ := pem.Decode(data); b != nil && b.Type == "ENCRYPTED PRIVATE KEY" && costly(b.Bytes) {
			return
		}
		if key, err := tlsx.ParseKey(data, "x"); err == nil {
			_, err = tlsx.EncodeKey(key, nil)
			require.NoError(t, err)
		}
	})
}

// costly reports whether a file has a number of two bytes or more, which might
// be the rounds of a key derivation. Those within the bounds take seconds, too
// long for a fuzzer; TestKeyWorkBounded is for those beyond.
func costly(der []byte) bool {
	for n := byte(2); n < 9; n++ {
		if bytes.Contains(der, []byte{2, n}) {
			return true
		}
	}
	return false
}

// FuzzParsePKCS12 changes a real file: never a panic, never hours.
func FuzzParsePKCS12(f *testing.F) {
	w := theWorld()
	data, err := pkcs12.Modern2023.WithIterations(2).Encode(w.server.PrivateKey, w.server.Leaf, []*x509.Certificate{w.intermediate.Cert}, "x")
	require.NoError(f, err)
	_, err = tlsx.ParsePKCS12(data, "x")
	require.NoError(f, err)
	f.Add(data, 0, byte(0))
	f.Add(data, 20, byte(1))
	f.Add([]byte("0"), 0, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at int, flip byte) {
		data = bytes.Clone(data)
		if at >= 0 && at < len(data) {
			data[at] ^= flip
		}
		if costly(data) {
			return
		}
		cert, err := tlsx.ParsePKCS12(data, "x")
		if err == nil {
			require.NotNil(t, cert.Leaf)
		}
	})
}

// FuzzOCSP: an OCSP answer and question of anybody.
func FuzzOCSP(f *testing.F) {
	w := theWorld()
	question, err := tlsx.NewOCSPRequest(w.server.Leaf, w.intermediate.Cert)
	require.NoError(f, err)
	answer, err := w.intermediate.AnswerOCSP(question, nil, noon, noon.Add(day))
	require.NoError(f, err)
	f.Add(question, answer)
	f.Fuzz(func(t *testing.T, question, answer []byte) {
		_, _ = w.intermediate.AnswerOCSP(question, nil, noon, noon.Add(day))
		_, _ = tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon, OCSP: answer})
	})
}

// FuzzNames: a name of a template is refused, or comes out as one that is taken
// again and stays as it is.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a.test", "*.mañana.test", "10.0.0.1", "a@b.test", "https://a.test/b", "xn--maana-pta.test", "[::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		req, _, err := tlsx.NewRequest(tlsx.Template{Names: []string{name}, Key: theWorld().server.PrivateKey.(crypto.Signer)})
		if err != nil {
			return
		}
		var out []string
		out = append(append(out, req.DNSNames...), req.EmailAddresses...)
		for _, ip := range req.IPAddresses {
			out = append(out, ip.String())
		}
		for _, u := range req.URIs {
			out = append(out, u.String())
		}
		require.Len(t, out, 1)
		again, _, err := tlsx.NewRequest(tlsx.Template{Names: out, Key: theWorld().server.PrivateKey.(crypto.Signer)})
		require.NoError(t, err, "%q of %q", out, name)
		require.Equal(t, req.DNSNames, again.DNSNames)
		require.Equal(t, req.EmailAddresses, again.EmailAddresses)
	})
}
