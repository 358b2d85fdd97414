package tlsx_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

// u8, u16 and u24 put a length before what they hold.
func u8(parts ...string) string {
	s := strings.Join(parts, "")
	return string([]byte{byte(len(s))}) + s
}

func u16(parts ...string) string {
	s := strings.Join(parts, "")
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s
}

func u24(parts ...string) string {
	s := strings.Join(parts, "")
	return string([]byte{byte(len(s) >> 16), byte(len(s) >> 8), byte(len(s))}) + s
}

var random32 = strings.Repeat("\x07", 32)

// ext is an extension.
func ext(kind uint16, data string) string {
	return string(binary.BigEndian.AppendUint16(nil, kind)) + u16(data)
}

// clientHello is a hello with the given extensions.
func clientHello(extensions ...string) string {
	return "\x01" + u24("\x03\x03", random32, u8("session"), u16("\x1a\x1a\x13\x01\xc0\x2b"), u8("\x00"), u16(extensions...))
}

// chromish is a hello in the manner of a browser: with GREASE in every list.
var chromish = clientHello(
	ext(0x3a3a, ""),
	ext(0, u16("\x00", u16("server.test"))),
	ext(10, u16("\x2a\x2a\x11\xec\x00\x1d")),
	ext(13, u16("\x04\x03\x08\x04")),
	ext(16, u16(u8("h2"), u8("http/1.1"))),
	ext(35, ""),
	ext(43, u8("\x4a\x4a\x03\x04\x03\x03")),
	ext(51, u16("\x2a\x2a", u16("\x00"), "\x00\x1d", u16(random32))),
	ext(0xfe0d, "\x00"),
	ext(0x5a5a, "\x00"),
)

// oldHello is one of a time before extensions.
var oldHello = "\x01" + u24("\x03\x01", random32, u8(), u16("\x00\x2f\x00\xff"), u8("\x00"))

func TestClientHello(t *testing.T) {
	h, err := tlsx.ParseClientHello([]byte(chromish))
	require.NoError(t, err)
	require.Equal(t, "server.test", h.ServerName)
	require.Equal(t, []string{"h2", "http/1.1"}, h.Protocols)
	require.Equal(t, []uint16{0x4a4a, tls.VersionTLS13, tls.VersionTLS12}, h.Versions)
	require.Equal(t, []uint16{0x1a1a, tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, h.CipherSuites)
	require.Equal(t, []tls.CurveID{0x2a2a, tls.X25519MLKEM768, tls.X25519}, h.Groups)
	require.Equal(t, []tlsx.KeyShare{{Group: 0x2a2a, Size: 1}, {Group: tls.X25519, Size: 32}}, h.KeyShares)
	require.Equal(t, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}, h.Signatures)
	require.Equal(t, "session", string(h.SessionID))
	require.Equal(t, random32, string(h.Random[:]))
	require.True(t, h.Ticket)
	require.True(t, h.ECH)
	require.False(t, h.Resumes)
	require.Len(t, h.Extensions, 10)
	text := h.String()
	for _, words := range []string{
		"server.test (a cover: the true hello is encrypted)", "GREASE, TLS 1.3, TLS 1.2", "h2, http/1.1",
		"TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "X25519 (32 bytes)", "ECDSAWithP256AndSHA256", "key_share, encrypted_client_hello",
	} {
		require.Contains(t, text, words)
	}

	h, err = tlsx.ParseClientHello([]byte(oldHello))
	require.NoError(t, err)
	require.Nil(t, h.Versions)
	require.Contains(t, h.String(), "TLS 1.0")
	require.Contains(t, h.String(), "TLS_EMPTY_RENEGOTIATION_INFO_SCSV")
	require.Contains(t, h.String(), "server name:    none")
}

// TestClientHelloMalformed: every length that lies, and what must not be twice.
func TestClientHelloMalformed(t *testing.T) {
	name := ext(0, u16("\x00", u16("a.test")))
	for what, msg := range map[string]string{
		"type":                 "\x02" + chromish[1:],
		"length":               chromish + "x",
		"session id":           "\x01" + u24("\x03\x03", random32, u8(strings.Repeat("s", 33)), u16("\x13\x01"), u8("\x00")),
		"cipher suites":        "\x01" + u24("\x03\x03", random32, u8(), u16("\x13\x01\x00"), u8("\x00")),
		"compression methods":  "\x01" + u24("\x03\x03", random32, u8(), u16("\x13\x01"), u8()),
		"extensions":           "\x01" + u24("\x03\x03", random32, u8(), u16("\x13\x01"), u8("\x00"), "\x00\x05ab"),
		"server_name":          clientHello(name, name),
		"server name":          clientHello(ext(0, u16("\x00", u16()))),
		"supported_groups":     clientHello(ext(10, u16("\x00\x1d\x00"))),
		"supported_versions":   clientHello(ext(43, u8())),
		"signature_algorithms": clientHello(ext(13, u16("\x04\x03")+"x")),
		"protocol":             clientHello(ext(16, u16(u8(), u8("h2")))),
		"key share":            clientHello(ext(51, u16("\x00\x1d", u16()))),
		"pre_shared_key":       clientHello(ext(41, "x"), name),
	} {
		_, err := tlsx.ParseClientHello([]byte(msg))
		var e *tlsx.MessageError
		require.ErrorAs(t, err, &e, what)
		require.Equal(t, what, e.Field, "%v", e)
		require.Contains(t, err.Error(), "malformed ClientHello")
	}
	for at := range len(chromish) {
		_, err := tlsx.ParseClientHello([]byte(chromish[:at]))
		require.Error(t, err)
	}
}

func TestServerHello(t *testing.T) {
	hello := func(random string, extensions ...string) []byte {
		return []byte("\x02" + u24("\x03\x03", random, u8("session"), "\x13\x01", "\x00", u16(extensions...)))
	}
	h, err := tlsx.ParseServerHello(hello(random32, ext(43, "\x03\x04"), ext(51, "\x00\x1d"+u16(random32)), ext(41, "\x00\x00")))
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, h.Version)
	require.Equal(t, tls.X25519, h.Group)
	require.Equal(t, 32, h.KeyShare)
	require.True(t, h.Resumed)
	require.False(t, h.Retry)
	require.Contains(t, h.String(), "TLS 1.3")
	retry := "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"
	h, err = tlsx.ParseServerHello(hello(retry, ext(43, "\x03\x04"), ext(51, "\x00\x18")))
	require.NoError(t, err)
	require.True(t, h.Retry)
	require.Equal(t, tls.CurveP384, h.Group)
	h, err = tlsx.ParseServerHello([]byte("\x02" + u24("\x03\x03", random32, u8(), "\xc0\x2b", "\x00", u16(ext(16, u16(u8("h2")))))))
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS12, h.Version)
	require.Equal(t, "h2", h.Protocol)
	for _, bad := range [][]byte{nil, []byte("\x02"), []byte("\x01\x00\x00\x00"), hello(random32, ext(51, "\x00\x1d")), hello(random32, ext(43, "\x03")), hello(random32, ext(16, u16(u8("h2"), u8("h3"))))} {
		_, err = tlsx.ParseServerHello(bad)
		require.Error(t, err)
	}
}

// records cuts a message into records of n bytes.
func records(msg string, n int) []byte {
	var b []byte
	for part := range slices.Chunk([]byte(msg), n) {
		b = append(b, "\x16\x03\x01"...)
		b = append(b, u16(string(part))...)
	}
	return b
}

// TestReadClientHello: a hello in one record or in many, read as it comes, with
// nothing taken of what follows.
func TestReadClientHello(t *testing.T) {
	for _, n := range []int{1, 3, 100, 1 << 14} {
		wire := records(chromish, n)
		r := bytes.NewReader(append(slices.Clone(wire), "what follows"...))
		h, read, err := tlsx.ReadClientHello(iotest.OneByteReader(r))
		require.NoError(t, err)
		require.Equal(t, "server.test", h.ServerName)
		require.Equal(t, wire, read)
		rest, _ := io.ReadAll(r)
		require.Equal(t, "what follows", string(rest))
	}
	wire := records(chromish, 50)
	for at := range len(wire) {
		_, read, err := tlsx.ReadClientHello(bytes.NewReader(wire[:at]))
		require.Equal(t, wire[:at], append([]byte{}, read...))
		if at == 0 {
			require.Equal(t, io.EOF, err)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d", at)
		}
	}
	_, read, err := tlsx.ReadClientHello(strings.NewReader("GET / HTTP/1.1\r\n"))
	require.Equal(t, tlsx.NotTLS, refusal(t, err).Reason)
	require.Equal(t, "GET /", string(read))
	for _, bad := range []string{"\x16\x03\x01\x00\x00", "\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", "\x16\x03\x01\x00\x04\x02\x00\x00\x00"} {
		_, _, err = tlsx.ReadClientHello(strings.NewReader(bad))
		var e *tlsx.MessageError
		require.ErrorAs(t, err, &e)
	}
	broken := errors.New("broken")
	_, _, err = tlsx.ReadClientHello(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

// TestRouteByName: who reads the hello and hands on what was read is invisible.
func TestRouteByName(t *testing.T) {
	w := theWorld()
	a, b := tcpPair(t)
	c, err := clientOf(w).Conn(a)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		hello, read, err := tlsx.ReadClientHello(b)
		if err != nil || hello.ServerName != "localhost" {
			b.Close()
			return
		}
		s, err := serverOf(w, w.server).Conn(&replayed{b, io.MultiReader(bytes.NewReader(read), b)})
		if err == nil {
			err = s.Handshake()
		}
		if err != nil {
			b.Close()
		}
	})
	require.NoError(t, c.Handshake())
	wg.Wait()
}

type replayed struct {
	net.Conn
	r io.Reader
}

func (c *replayed) Read(p []byte) (int, error) { return c.r.Read(p) }
