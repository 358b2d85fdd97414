package mq

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// streams returns the two ends of a stream in memory, from inside a bubble.
func streams(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	var network simnet.Network
	listener, err := network.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":5555")
	require.NoError(t, err)
	dialed, err = network.Host(netip.MustParseAddr("10.0.0.2")).Dial("tcp", "10.0.0.1:5555")
	require.NoError(t, err)
	accepted, err = listener.Accept()
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
		network.Close()
	})
	return dialed, accepted
}

// ended is how a handshake came out.
type ended struct {
	peer   peerInfo
	cipher cipher
	err    error
}

// shake plays one handshake between two ends of our own.
func shake(t *testing.T, client, server Mechanism, dialer, acceptor local) (c, s ended) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := streams(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.peer, s.cipher, s.err = handshake(b, server, acceptor)
			if s.err != nil {
				b.Close()
			}
		}()
		c.peer, c.cipher, c.err = handshake(a, client, dialer)
		if c.err != nil {
			a.Close()
		}
		<-done
	})
	return c, s
}

var (
	dealer = local{typ: DEALER, identity: []byte("ann")}
	router = local{typ: ROUTER, accepted: true}
)

func TestHandshake(t *testing.T) {
	serverKey, clientKey := NewCurveKey(), NewCurveKey()
	for _, tt := range []struct {
		name           string
		client, server Mechanism
		user           string
	}{
		{"NULL", nil, nil, ""},
		{"PLAIN", &PlainClient{"ann", "secret"}, &PlainServer{Users: map[string]string{"ann": "secret"}}, "ann"},
		{
			"PLAIN by a function", &PlainClient{"ann", ""},
			&PlainServer{Check: func(user, password string) bool { return user == "ann" && password == "" }}, "ann",
		},
		{
			"CURVE", &CurveClient{ServerKey: serverKey.Public(), SecretKey: clientKey},
			&CurveServer{SecretKey: serverKey, Admit: func(k CurveKey) bool { return k == clientKey.Public() }},
			clientKey.Public().String(),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := shake(t, tt.client, tt.server, dealer, router)
			require.NoError(t, c.err)
			require.NoError(t, s.err)
			assert.Equal(t, peerInfo{typ: ROUTER, identity: []byte{}, minor: 1}, c.peer)
			assert.Equal(t, peerInfo{typ: DEALER, identity: []byte("ann"), minor: 1, user: tt.user}, s.peer)
			assert.Equal(t, c.cipher == nil, s.cipher == nil)
		})
		t.Run(tt.name+" by the binding end", func(t *testing.T) { // roles are independent of who binds
			c, s := shake(t, tt.server, tt.client, local{typ: ROUTER}, local{typ: DEALER, accepted: true})
			require.NoError(t, c.err)
			require.NoError(t, s.err)
			assert.Equal(t, tt.user, c.peer.user)
		})
	}
}

// A CURVE client without a key of its own has a new one each time.
func TestAnonymousClient(t *testing.T) {
	server := &CurveServer{SecretKey: NewCurveKey()}
	client := &CurveClient{ServerKey: server.SecretKey.Public()}
	_, first := shake(t, client, server, dealer, router)
	_, second := shake(t, client, server, dealer, router)
	require.NoError(t, first.err)
	require.NoError(t, second.err)
	assert.NotEqual(t, first.peer.user, second.peer.user)
}

func TestRefusal(t *testing.T) {
	serverKey := NewCurveKey()
	curve := &CurveServer{SecretKey: serverKey, Admit: func(CurveKey) bool { return false }}
	plain := &PlainServer{Users: map[string]string{"ann": "secret"}}
	for _, tt := range []struct {
		name           string
		client, server Mechanism
		atServer       any    // nil means *AuthError
		atClient       string // in its error
		fatal          bool
	}{
		{"wrong password", &PlainClient{"ann", "Secret"}, plain, nil, `refused by the peer: "400"`, true},
		{"wrong user", &PlainClient{"bob", "secret"}, plain, nil, `refused by the peer: "400"`, true},
		{"unknown user with the password of nobody", &PlainClient{"bob", ""}, plain, nil, `refused by the peer: "400"`, true},
		{"wrong CURVE client", &CurveClient{ServerKey: serverKey.Public()}, curve, nil, `refused by the peer: "400"`, true},
		{"wrong CURVE server", &CurveClient{ServerKey: NewCurveKey().Public()}, curve, new(*ProtocolError), "EOF", false},
		{"another mechanism", nil, plain, new(*ProtocolError), "PLAIN", false},
		{"two servers", plain, plain, new(*ProtocolError), "both ends are servers", false},
		{"two clients", &PlainClient{}, &PlainClient{}, new(*ProtocolError), "HELLO where WELCOME was due", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := shake(t, tt.client, tt.server, dealer, router)
			if tt.atServer == nil {
				var refused *AuthError
				require.ErrorAs(t, s.err, &refused)
			} else {
				require.ErrorAs(t, s.err, tt.atServer)
			}
			require.ErrorContains(t, c.err, tt.atClient)
			assert.Equal(t, tt.fatal, fatal(c.err))
			assert.False(t, fatal(s.err))
		})
	}
}

func TestLegalPairs(t *testing.T) {
	legal := map[Type][]Type{
		REQ: {REP, ROUTER}, REP: {REQ, DEALER}, DEALER: {REP, DEALER, ROUTER}, ROUTER: {REQ, DEALER, ROUTER},
		PUB: {SUB, XSUB}, XPUB: {SUB, XSUB}, SUB: {PUB, XPUB}, XSUB: {PUB, XPUB},
		PUSH: {PULL}, PULL: {PUSH}, PAIR: {PAIR},
	}
	for a := PAIR; a <= XSUB; a++ {
		for b := PAIR; b <= XSUB; b++ {
			want := false
			for _, l := range legal[a] {
				want = want || l == b
			}
			assert.Equal(t, want, a.talksTo(b), "%v and %v", a, b)
			if a > b {
				continue
			}
			c, s := shake(t, nil, nil, local{typ: a}, local{typ: b, accepted: true})
			assert.Equal(t, want, c.err == nil, "%v connects to %v: %v", a, b, c.err)
			assert.Equal(t, want, s.err == nil, "%v accepts %v: %v", b, a, s.err)
			if !want { // the end that accepted says so, and the other does not come back
				assert.ErrorContains(t, c.err, reasonType)
				assert.True(t, fatal(c.err))
			}
		}
	}
	assert.False(t, Type(0).talksTo(PAIR))
	assert.False(t, PAIR.talksTo(0))
}

// talk plays a peer that says fixed bytes, whatever it hears.
type talk struct {
	io.Reader
	said bytes.Buffer
}

func (c *talk) Write(p []byte) (int, error) { return c.said.Write(p) }

func greeting(mechanism string) []byte { return appendGreeting(nil, mechanism, false) }

func ready(properties ...string) []byte {
	body := appendCommand(nil, cmdReady)
	for i := 0; i < len(properties); i += 2 {
		body = appendProperty(body, properties[i], []byte(properties[i+1]))
	}
	return appendFrame(nil, flagCommand, body)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// withByte is b with another byte at one place.
func withByte(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

func TestHostileHandshake(t *testing.T) {
	hello := greeting("NULL")
	endless := appendHeader(nil, flagCommand|flagLong, 1<<62)
	for _, tt := range []struct {
		name string
		says []byte
		want string // in the error
		err  error
	}{
		{"nothing", nil, "", io.ErrUnexpectedEOF},
		{"half a greeting", hello[:30], "", io.ErrUnexpectedEOF},
		{"HTTP", []byte("G"), "does not speak ZMTP", nil},
		{"another signature", withByte(hello, 9, 0), "does not speak ZMTP", nil},
		{"ZMTP 2", []byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01"), "older than 3.0", nil},
		{"no mechanism", greeting(""), `mechanism is ""`, nil},
		{"a mechanism with a tail", withByte(hello, 20, 'x'), `NULL\x00\x00`, nil},
		{"no handshake", hello, "", io.ErrUnexpectedEOF},
		{"a message before READY", join(hello, appendFrame(nil, 0, []byte("hi"))), "flags 0x0", nil},
		{"a command with MORE", join(hello, []byte{5, 0}), "flags 0x5", nil},
		{"a command of 2^62 bytes", join(hello, endless), "a command of 4611686018427387904 bytes", nil},
		{"a command of 65537 bytes", join(hello, appendHeader(nil, flagCommand, 65537)), "a command of 65537 bytes", nil},
		{"a command that is cut off", join(hello, appendHeader(nil, flagCommand, 40), []byte("\x05READY")), "", io.ErrUnexpectedEOF},
		{"a length that is cut off", join(hello, []byte{6, 0, 0}), "", io.ErrUnexpectedEOF},
		{"an empty command", join(hello, []byte{4, 0}), "command without a name", nil},
		{"a name longer than the command", join(hello, []byte{4, 2, 9, 'R'}), "command without a name", nil},
		{"a name that is none", join(hello, []byte{4, 2, 1, 0}), `command name "\x00"`, nil},
		{"another command", join(hello, appendFrame(nil, flagCommand, appendCommand(nil, cmdHello))), "HELLO where READY was due", nil},
		{"ERROR without a reason", join(hello, appendFrame(nil, flagCommand, appendCommand(nil, cmdError))), "ERROR without a reason", nil},
		{"ERROR", join(hello, appendFrame(nil, flagCommand, appendErrorCommand(nil, "go-away"))), `refused by the peer: "go-away"`, nil},
		{"no metadata", join(hello, ready()), "no Socket-Type", nil},
		{"an unknown type", join(hello, ready("Socket-Type", "DISH")), `unknown Socket-Type "DISH"`, nil},
		{"a type in small letters", join(hello, ready("Socket-Type", "dealer")), `unknown Socket-Type "dealer"`, nil},
		{"a type that does not fit", join(hello, ready("Socket-Type", "PUB")), "ROUTER does not talk to a PUB", nil},
		{"two types", join(hello, ready("Socket-Type", "PUB", "SOCKET-TYPE", "DEALER")), "socket-type twice", nil},
		{"a name of a property that is none", join(hello, ready("Socket Type", "PUB")), "metadata name", nil},
		{"a property without a name", join(hello, ready("", "PUB")), "metadata cut off", nil},
		{"a property of 4 GiB", join(hello, appendFrame(nil, flagCommand, []byte("\x05READY\x01a\xff\xff\xff\xff"))), "metadata cut off in a", nil},
		{"half a property", join(hello, appendFrame(nil, flagCommand, []byte("\x05READY\x01a\x00\x00"))), "metadata cut off", nil},
		{"an identity that begins with 0", join(hello, ready("Socket-Type", "DEALER", "Identity", "\x00a")), "begins with 0", nil},
		{"a long identity", join(hello, ready("Socket-Type", "DEALER", "Identity", string(make([]byte, 256)))), "identity of 256 bytes", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := handshake(&talk{Reader: bytes.NewReader(tt.says)}, nil, router)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
				return
			}
			bad, ok := errors.AsType[*ProtocolError](err)
			require.True(t, ok, "%v", err)
			require.ErrorContains(t, bad, tt.want)
		})
	}
}

// The handshake reads byte by byte what comes so, and nothing after its end.
func TestHandshakeReadsNoFurther(t *testing.T) {
	says := join(greeting("NULL"), ready("Socket-Type", "REQ", "X-Own", "1"), []byte("\x00\x02hi"))
	rest := bytes.NewReader(says)
	p, _, err := handshake(&talk{Reader: io.LimitReader(oneByte{rest}, int64(len(says)))}, nil, local{typ: REP, accepted: true})
	require.NoError(t, err)
	assert.Equal(t, REQ, p.typ)
	assert.Equal(t, 4, rest.Len())
}

// oneByte gives one byte at a time.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// What we say on the wire, byte for byte: the worked example of RFC 37.
func TestGoldenHandshake(t *testing.T) {
	theirs := join(greeting("NULL"), ready("Socket-Type", "ROUTER"))
	conn := &talk{Reader: bytes.NewReader(theirs)}
	_, _, err := handshake(conn, nil, local{typ: DEALER})
	require.NoError(t, err)
	want := "\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03\x01" + "NULL" + string(make([]byte, 16+1+31)) +
		"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
	assert.Equal(t, want, conn.said.String())
}

func TestVersions(t *testing.T) {
	for _, tt := range []struct{ major, minor, want byte }{{3, 0, 0}, {3, 1, 1}, {3, 7, 1}, {4, 0, 1}} {
		g := withByte(withByte(greeting("NULL"), greetingMajor, tt.major), greetingMinor, tt.minor)
		p, _, err := handshake(&talk{Reader: bytes.NewReader(join(g, ready("socket-TYPE", "PUB")))}, nil, local{typ: SUB})
		require.NoError(t, err)
		assert.Equal(t, tt.want, p.minor, "ZMTP %d.%d", tt.major, tt.minor)
	}
}

func TestMechanismFields(t *testing.T) {
	long := string(make([]byte, 256))
	for _, m := range []Mechanism{&CurveServer{}, &CurveClient{}, &PlainClient{Username: long}, &PlainClient{Password: long}} {
		assert.Error(t, checkMechanism(m), "%#v", m)
	}
	for _, m := range []Mechanism{
		nil, &CurveServer{SecretKey: NewCurveKey()}, &CurveClient{ServerKey: NewCurveKey()},
		&PlainServer{}, &PlainClient{Username: long[:255], Password: long[:255]},
	} {
		assert.NoError(t, checkMechanism(m), "%#v", m)
	}
}

func TestCommands(t *testing.T) {
	flags, body := appendSubscription(nil, 1, false, "topic")
	assert.Equal(t, "\x09SUBSCRIBEtopic", string(body))
	assert.EqualValues(t, flagCommand, flags)
	flags, body = appendSubscription(nil, 1, true, "topic")
	assert.Equal(t, "\x06CANCELtopic", string(body))
	assert.EqualValues(t, flagCommand, flags)
	flags, body = appendSubscription(nil, 0, false, "topic")
	assert.Equal(t, "\x01topic", string(body))
	assert.Zero(t, flags)
	flags, body = appendSubscription(nil, 0, true, "")
	assert.Equal(t, "\x00", string(body))
	assert.Zero(t, flags)

	for _, tt := range []struct{ ttl, want time.Duration }{
		{-time.Second, 0},
		{0, 0},
		{1, 100 * time.Millisecond},
		{300 * time.Millisecond, 300 * time.Millisecond},
		{time.Second + 1, 1100 * time.Millisecond},
		{3 * time.Hour, 65535 * 100 * time.Millisecond},
	} {
		name, data, err := parseCommand(appendPing(nil, tt.ttl, []byte("ctx")))
		require.NoError(t, err)
		assert.Equal(t, cmdPing, string(name))
		ttl, context, err := parsePing(data)
		require.NoError(t, err)
		assert.Equal(t, tt.want, ttl)
		assert.Equal(t, "ctx", string(context))
	}
	_, _, err := parsePing([]byte{1})
	assert.Error(t, err)
	_, _, err = parsePing(make([]byte, 19))
	assert.Error(t, err)
	assert.Equal(t, "\x04PONGctx", string(appendPong(nil, []byte("ctx"))))
}
