package mq

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// meetPy joins a socket of ours and one of pyzmq, with either of them bound.
func meetPy(t *testing.T, ours *Socket, weBind bool, spec pySpec) *pyPeer {
	t.Helper()
	if weBind {
		endpoint, err := ours.Bind(t.Context(), "tcp://127.0.0.1:*")
		require.NoError(t, err)
		spec.Connect = []string{endpoint}
		return startPy(t, spec)
	}
	spec.Bind = []string{"tcp://127.0.0.1:*"}
	p := startPy(t, spec)
	require.NoError(t, ours.Connect(p.bound[0]))
	return p
}

// eitherBinds runs a test twice: we bind, libzmq binds.
func eitherBinds(t *testing.T, test func(b *bench, weBind bool)) {
	for _, weBind := range []bool{true, false} {
		name := "libzmq binds"
		if weBind {
			name = "we bind"
		}
		t.Run(name, func(t *testing.T) { test(&bench{T: t, transport: "tcp"}, weBind) })
	}
}

var (
	big  = strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	long = big[:100_000]
)

func TestLibzmqRequestReply(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		for _, typ := range []Type{REQ, DEALER} {
			ours := b.socket(typ)
			py := meetPy(b.T, ours, weBind, pySpec{Type: "REP"})
			for _, frames := range [][]string{{"hello"}, {"", "b", ""}, {big}} {
				if typ == DEALER {
					frames = append([]string{""}, frames...)
				}
				py.start(pyOp{Op: "echo", Count: 1})
				send(b, ours, frames...)
				require.Equal(b, frames, recv(b, ours))
				require.Empty(b, py.answer().Error)
			}
		}
		for _, typ := range []string{"REQ", "DEALER"} {
			ours := b.socket(REP)
			py := meetPy(b.T, ours, weBind, pySpec{Type: typ})
			for _, frames := range [][]string{{"hello"}, {"", "b", ""}, {big}} {
				envelope := frames
				if typ == "DEALER" {
					envelope = append([]string{""}, frames...)
				}
				py.send(envelope...)
				require.Equal(b, frames, recv(b, ours))
				send(b, ours, frames...)
				require.Equal(b, envelope, py.recv())
			}
		}
	})
}

func TestLibzmqRouter(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		router := b.socket(ROUTER)
		py := meetPy(b.T, router, weBind, pySpec{Type: "DEALER", Options: map[string]any{"ROUTING_ID": "ann"}})
		py.send("to you", long)
		require.Equal(b, []string{"ann", "to you", long}, recv(b, router))
		send(b, router, "ann", "back", long)
		require.Equal(b, []string{"back", long}, py.recv())

		dealer := b.socket(DEALER, Config{Identity: []byte("bob")})
		py = meetPy(b.T, dealer, weBind, pySpec{Type: "ROUTER"})
		send(b, dealer, "to you", "")
		require.Equal(b, []string{"bob", "to you", ""}, py.recv())
		py.send("bob", "back")
		require.Equal(b, []string{"back"}, recv(b, dealer))
	})
}

func TestLibzmqPipeline(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		push := b.socket(PUSH)
		py := meetPy(b.T, push, weBind, pySpec{Type: "PULL"})
		py.start(pyOp{Op: "drain", Count: 3000})
		for i := range 3000 {
			send(b, push, strings.Repeat("x", i))
		}
		assert.Equal(b, 3000*2999/2, py.answer().Bytes)
		send(b, push, "multi", "", "part", big)
		require.Equal(b, []string{"multi", "", "part", big}, py.recv())

		pull := b.socket(PULL)
		py = meetPy(b.T, pull, weBind, pySpec{Type: "PUSH"})
		py.start(pyOp{Op: "flood", Count: 3000, Size: 300})
		for range 3000 {
			require.Len(b, recv(b, pull)[0], 300)
		}
		py.answer()
		py.send("multi", "", "part", big)
		require.Equal(b, []string{"multi", "", "part", big}, recv(b, pull))
	})
}

func TestLibzmqPublishSubscribe(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		for _, typ := range []string{"SUB", "XSUB"} {
			xpub := b.socket(XPUB)
			spec := pySpec{Type: typ}
			if typ == "SUB" {
				spec.Subscribe = []string{"61"}
			}
			py := meetPy(b.T, xpub, weBind, spec)
			if typ == "XSUB" {
				py.send("\x01a")
			}
			subscribed(b, xpub, "a")
			send(b, xpub, "b", "not this")
			send(b, xpub, "a", "this", long)
			require.Equal(b, []string{"a", "this", long}, py.recv())
			if typ == "XSUB" {
				py.send("\x00a")
				require.Equal(b, []string{"\x00a"}, recv(b, xpub))
				continue
			}
			require.Empty(b, py.do(pyOp{Op: "call", Name: "subscribe", Args: []any{"c"}}).Error)
			subscribed(b, xpub, "c")
			require.Empty(b, py.do(pyOp{Op: "call", Name: "unsubscribe", Args: []any{"a"}}).Error)
			require.Equal(b, []string{"\x00a"}, recv(b, xpub))
			send(b, xpub, "a", "no more")
			send(b, xpub, "c")
			require.Equal(b, []string{"c"}, py.recv())
		}
		for _, typ := range []Type{SUB, XSUB} {
			ours := b.socket(typ)
			py := meetPy(b.T, ours, weBind, pySpec{Type: "XPUB", Options: map[string]any{"XPUB_VERBOSE": 1}})
			require.NoError(b, ours.Subscribe("a"))
			require.Equal(b, []string{"\x01a"}, py.recv())
			py.send("b")
			py.send("ab", "c", long)
			require.Equal(b, []string{"ab", "c", long}, recv(b, ours))
			require.NoError(b, ours.Unsubscribe("a"))
			require.Equal(b, []string{"\x00a"}, py.recv())
		}
		// Subscriptions are counted at both ends in a way that fits.
		xpub := b.socket(XPUB)
		py := meetPy(b.T, xpub, weBind, pySpec{Type: "SUB", Subscribe: []string{"61", "61"}})
		subscribed(b, xpub, "a")
		require.Empty(b, py.do(pyOp{Op: "call", Name: "unsubscribe", Args: []any{"a"}}).Error)
		require.Empty(b, py.do(pyOp{Op: "call", Name: "subscribe", Args: []any{"b"}}).Error)
		subscribed(b, xpub, "b")
		send(b, xpub, "a")
		require.Equal(b, []string{"a"}, py.recv())
		require.Empty(b, py.do(pyOp{Op: "call", Name: "unsubscribe", Args: []any{"a"}}).Error)
		require.Equal(b, []string{"\x00a"}, recv(b, xpub))

		// A plain PUB says nothing about subscriptions: it repeats itself until
		// it is heard.
		sub := b.socket(SUB)
		require.NoError(b, sub.Subscribe("news"))
		py = meetPy(b.T, sub, weBind, pySpec{Type: "PUB"})
		for {
			py.send("old")
			py.send("news", "now")
			if m, err := sub.Recv(notWaiting()); err == nil {
				require.Equal(b, []string{"news", "now"}, texts(m))
				break
			}
		}
	})
}

func TestLibzmqPair(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		ours := b.socket(PAIR)
		py := meetPy(b.T, ours, weBind, pySpec{Type: "PAIR"})
		send(b, ours, "hello", long, "")
		require.Equal(b, []string{"hello", long, ""}, py.recv())
		py.send("good", "day", long)
		require.Equal(b, []string{"good", "day", long}, recv(b, ours))
	})
}

func TestLibzmqOverIPC(t *testing.T) {
	b := &bench{T: t, transport: "ipc"}
	pull := b.socket(PULL)
	endpoint := b.bind(pull)
	startPy(t, pySpec{Type: "PUSH", Connect: []string{endpoint}}).send("over", "ipc")
	require.Equal(t, []string{"over", "ipc"}, recv(b, pull))

	push := b.socket(PUSH)
	py := startPy(t, pySpec{Type: "PULL", Bind: []string{b.endpoint()}})
	require.NoError(t, push.Connect(py.bound[0]))
	send(b, push, "and", "back")
	require.Equal(t, []string{"and", "back"}, py.recv())
}

// pySecurity returns what the two ends are to be told for a mechanism.
func pySecurity(mechanism string, weServe bool) (ours Mechanism, spec pySpec, user string) {
	server, client := NewCurveKey(), NewCurveKey()
	switch {
	case mechanism == "PLAIN" && weServe:
		return &PlainServer{Users: map[string]string{"ann": "secret"}},
			pySpec{Options: map[string]any{"PLAIN_USERNAME": "ann", "PLAIN_PASSWORD": "secret"}}, "ann"
	case mechanism == "PLAIN":
		return &PlainClient{Username: "ann", Password: "secret"},
			pySpec{Plain: map[string]string{"ann": "secret"}, Options: map[string]any{"PLAIN_SERVER": 1}}, ""
	case weServe:
		return &CurveServer{SecretKey: server, Admit: func(k CurveKey) bool { return k == client.Public() }},
			pySpec{Options: map[string]any{
				"CURVE_SERVERKEY": server.Public().String(),
				"CURVE_PUBLICKEY": client.Public().String(), "CURVE_SECRETKEY": client.String(),
			}}, client.Public().String()
	default:
		return &CurveClient{ServerKey: server.Public(), SecretKey: client},
			pySpec{Curve: true, Options: map[string]any{"CURVE_SERVER": 1, "CURVE_SECRETKEY": server.String()}}, ""
	}
}

func TestLibzmqSecurity(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		for _, mechanism := range []string{"PLAIN", "CURVE"} {
			for _, weServe := range []bool{true, false} {
				trace, come, _ := meetings()
				security, spec, user := pySecurity(mechanism, weServe)
				spec.Type = "XPUB"
				ours := b.socket(SUB, Config{Security: security, Trace: trace})
				require.NoError(b, ours.Subscribe("t"))
				py := meetPy(b.T, ours, weBind, spec)
				assert.Equal(b, user, await(b, come).User)
				require.Equal(b, []string{"\x01t"}, py.recv(), "%s, we serve: %v", mechanism, weServe)
				py.send("t", "text", long)
				require.Equal(b, []string{"t", "text", long}, recv(b, ours))

				security, spec, _ = pySecurity(mechanism, weServe)
				spec.Type, spec.Subscribe = "SUB", []string{"74"}
				xpub := b.socket(XPUB, Config{Security: security})
				py = meetPy(b.T, xpub, weBind, spec)
				subscribed(b, xpub, "t")
				send(b, xpub, "t", "text", long)
				require.Equal(b, []string{"t", "text", long}, py.recv(), "%s, we serve: %v", mechanism, weServe)
			}
		}
	})
}

// Who is refused by libzmq is told so, and does not come back; we refuse with
// the same word.
func TestLibzmqRefuses(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	py := startPy(t, pySpec{
		Type: "REP", Bind: []string{"tcp://127.0.0.1:*"},
		Plain: map[string]string{"ann": "secret"}, Options: map[string]any{"PLAIN_SERVER": 1},
	})
	type retry struct {
		err  error
		wait time.Duration
	}
	retries := make(chan retry, 100)
	trace := &Trace{Retry: func(_ string, err error, wait time.Duration) { retries <- retry{err, wait} }}
	req := b.socket(REQ, Config{Security: &PlainClient{Username: "ann", Password: "guess"}, Trace: trace})
	require.NoError(t, req.Connect(py.bound[0]))
	r := await(t, retries)
	require.ErrorContains(t, r.err, `refused by the peer: "400"`)
	assert.Negative(t, r.wait, "there is no use in trying again")

	refused := make(chan error, 100)
	rep := b.socket(REP, Config{
		Security: &PlainServer{Users: map[string]string{"ann": "secret"}},
		Trace:    &Trace{Refused: func(_ string, _ net.Addr, err error) { refused <- err }},
	})
	meetPy(t, rep, true, pySpec{Type: "REQ", Options: map[string]any{"PLAIN_USERNAME": "ann", "PLAIN_PASSWORD": "guess"}})
	wrong := new(AuthError)
	require.ErrorAs(t, await(t, refused), &wrong)
	assert.Equal(t, AuthError{Mechanism: "PLAIN", User: "ann"}, *wrong)
}

// Programs of libzmq on both sides of our proxies.
func TestLibzmqThroughProxy(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	proxy := func(front, back Type) (frontend, backend string) {
		f, k := b.socket(front), b.socket(back)
		b.startProxy(t.Context(), f, k, nil)
		return b.bind(f), b.bind(k)
	}
	frontend, backend := proxy(ROUTER, DEALER)
	rep := startPy(t, pySpec{Type: "REP", Connect: []string{backend}})
	req := startPy(t, pySpec{Type: "REQ", Connect: []string{frontend}})
	rep.start(pyOp{Op: "echo", Count: 1})
	req.send("question", long)
	require.Equal(t, []string{"question", long}, req.recv())
	rep.answer()

	frontend, backend = proxy(XSUB, XPUB)
	pub := startPy(t, pySpec{Type: "XPUB", Connect: []string{frontend}})
	sub := startPy(t, pySpec{Type: "SUB", Connect: []string{backend}, Subscribe: []string{"61"}})
	require.Equal(t, []string{"\x01a"}, pub.recv())
	pub.send("b", "not this")
	pub.send("a", "this")
	require.Equal(t, []string{"a", "this"}, sub.recv())
}

// Each side finds the other again after it has been started anew.
func TestLibzmqRestarts(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	trace, come, gone := meetings()
	req := b.socket(REQ, Config{Trace: trace})
	endpoint := "tcp://127.0.0.1:*"
	for i := range 3 {
		py := startPy(t, pySpec{Type: "REP", Bind: []string{endpoint}})
		endpoint = py.bound[0]
		if i == 0 {
			require.NoError(t, req.Connect(endpoint))
		}
		await(t, come)
		send(b, req, fmt.Sprint(i))
		require.Equal(t, []string{fmt.Sprint(i)}, py.recv())
		py.send("answer")
		require.Equal(t, []string{"answer"}, recv(b, req))
		py.stop()
		await(t, gone)
	}

	endpoint = "tcp://127.0.0.1:*"
	var py *pyPeer
	for i := range 3 {
		rep := b.socket(REP)
		bound, err := rep.Bind(t.Context(), endpoint)
		require.NoError(t, err)
		endpoint = bound
		if i == 0 {
			py = startPy(t, pySpec{Type: "DEALER", Connect: []string{endpoint}, Options: map[string]any{"RECONNECT_IVL": 10}})
		}
		py.send("", fmt.Sprint(i))
		require.Equal(t, []string{fmt.Sprint(i)}, recv(b, rep))
		send(b, rep, "answer")
		require.Equal(t, []string{"", "answer"}, py.recv())
		require.NoError(t, rep.Close())
	}
}

// PING and PONG keep a connection that is silent otherwise.
func TestLibzmqHeartbeats(t *testing.T) {
	eitherBinds(t, func(b *bench, weBind bool) {
		trace, come, gone := meetings()
		ours := b.socket(PAIR, Config{
			Trace: trace, HeartbeatInterval: 20 * time.Millisecond,
			HeartbeatTimeout: patience, HeartbeatTTL: 10 * time.Second,
		})
		py := meetPy(b.T, ours, weBind, pySpec{Type: "PAIR", Options: map[string]any{
			"HEARTBEAT_IVL": 20, "HEARTBEAT_TIMEOUT": 10_000, "HEARTBEAT_TTL": 10_000,
		}})
		await(b, come)
		// The peer's recv returns after some of its heartbeats.
		require.Equal(b, "timeout", py.do(pyOp{Op: "recv", Timeout: 200}).Error)
		py.send("still here")
		require.Equal(b, []string{"still here"}, recv(b, ours))
		send(b, ours, "so am I")
		require.Equal(b, []string{"so am I"}, py.recv())
		assert.Empty(b, gone)
	})
}

// The types that must not be joined are not, whoever looks.
func TestLibzmqWrongPair(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	refused := make(chan error, 100)
	pull := b.socket(PULL, Config{Trace: &Trace{Refused: func(_ string, _ net.Addr, err error) { refused <- err }}})
	meetPy(t, pull, true, pySpec{Type: "REP"})
	require.ErrorContains(t, await(t, refused), "a PULL does not talk to a REP")

	retries := make(chan error, 100)
	sub := b.socket(SUB, Config{Trace: &Trace{Retry: func(_ string, err error, _ time.Duration) { retries <- err }}})
	meetPy(t, sub, false, pySpec{Type: "PULL"})
	require.ErrorContains(t, await(t, retries), "a SUB does not talk to a PULL")
}

// Of what comes faster than it is read, the newest is kept.
func TestLibzmqConflate(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	pull := b.socket(PULL, Config{Conflate: true})
	py := meetPy(t, pull, true, pySpec{Type: "PUSH"})
	py.start(pyOp{Op: "flood", Count: 5000, Size: 10})
	py.answer()
	py.send("last")
	for recv(b, pull)[0] != "last" {
	}
	nothing(t, pull)
}
