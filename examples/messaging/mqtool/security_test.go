package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/mq"
)

// refuses expects that router lets nobody in with these flags. A socket that
// was refused may block when it sends, or not: that depends on which comes
// first.
func refuses(t *testing.T, router *peer, b start, flags ...string) {
	t.Helper()
	dealer := b(t, append([]string{"dealer", "--manual", "--linger", "0", "--sndtimeo", "100", "--connect", router.bound}, flags...)...)
	dealer.flood(1, 5)
	dealer.say(`{"op":"recv","timeout":200}`)
	dealer.fails("timeout")
	dealer.end()
}

func TestPlain(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		router := a(t, "router", "--bind", "tcp://127.0.0.1:*", "--plain-server", "ana:s3cr:to")
		refuses(t, router, b, "--plain-client", "ana:wrong")
		refuses(t, router, b, "--plain-client", "ana:s3cr")
		refuses(t, router, b, "--plain-client", "eva:s3cr:to")
		refuses(t, router, b) // NULL
		req := b(t, "req", "--connect", router.bound, "--plain-client", "ana:s3cr:to", "--identity=Ana")
		req.say(`["hola"]`)
		router.hear(`["Ana","","hola"]`) // and nothing before
		router.say(`["Ana","","¡hola!"]`)
		req.hear(`["¡hola!"]`)
	})
}

func TestCurve(t *testing.T) {
	server, client := mq.NewCurveKey(), mq.NewCurveKey()
	together(t, func(t *testing.T, a, b start) {
		router := a(t, "router", "--bind", "tcp://127.0.0.1:*", "--curve-server", server.String())
		refuses(t, router, b, "--curve-client", curveKeys(client, client)) // not the server's key
		refuses(t, router, b, "--plain-client", "ana:secreto")
		refuses(t, router, b)
		req := b(t, "req", "--connect", router.bound, "--identity=Ana", "--curve-client="+curveKeys(server, client))
		req.say(`["hola"]`, `[{"fill":100000},""]`)
		router.hear(`["Ana","","hola"]`)
		router.say(`["Ana","",{"fill":2000}]`)
		require.Contains(t, req.next(), `[{"len":2000,`)
		require.Contains(t, router.next(), `["Ana","",{"len":100000,`)
	})
}

// curveKeys are the keys of a client, for --curve-client.
func curveKeys(server, client mq.CurveKey) string {
	return strings.Join([]string{server.Public().String(), client.Public().String(), client.String()}, ",")
}

// PLAIN and CURVE do not care who binds.
func TestClientBinds(t *testing.T) {
	server, client := mq.NewCurveKey(), mq.NewCurveKey()
	together(t, func(t *testing.T, a, b start) {
		pull := a(t, "pull", "--bind", "tcp://127.0.0.1:*", "--curve-client", curveKeys(server, client))
		push := b(t, "push", "--connect", pull.bound, "--curve-server", server.String())
		push.say(`["hola"]`)
		pull.hear(`["hola"]`)
		pull = a(t, "pull", "--bind", "tcp://127.0.0.1:*", "--plain-client", "a:b")
		push = b(t, "push", "--connect", pull.bound, "--plain-server", "a:b")
		push.say(`["hola"]`)
		pull.hear(`["hola"]`)
	})
}
