package dnsx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/testcert"
)

// A scripted network answers each query over UDP with what udp makes of it,
// over TCP with what tcp does; nil refuses connections.
type scripted struct {
	udp, tcp func(query []byte) [][]byte

	mu    sync.Mutex
	dials []string
}

func (s *scripted) Dial(_ context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, network)
	s.mu.Unlock()
	answer := s.udp
	if network == "tcp" {
		answer = s.tcp
	}
	if answer == nil {
		return nil, syscall.ECONNREFUSED
	}
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		buf := make([]byte, 70_000)
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		query := buf[:n]
		if network == "tcp" {
			query = query[2:]
		}
		for _, response := range answer(query) {
			if network == "tcp" {
				response = append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)
			}
			if _, err := server.Write(response); err != nil {
				return
			}
		}
		io.Copy(io.Discard, server) // until the client has gone
	}()
	return client, nil
}

var someServer = netip.MustParseAddrPort("192.0.2.1:53")

// honest answers any question with an address.
func honest(query []byte) []byte {
	m, err := ParseMessage(query)
	if err != nil {
		return nil
	}
	m.Response, m.RecursionAvailable, m.EDNS = true, true, nil
	m.Answer = []Record{{Name: m.Questions[0].Name, Type: A, TTL: time.Minute, Data: "192.0.2.7"}}
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	return wire
}

// with returns a copy of a message with a change.
func with(message []byte, change func(m []byte)) []byte {
	m := bytes.Clone(message)
	change(m)
	return m
}

func wrongID(m []byte) { m[0] ^= 1 }

func lowerCase(m []byte) { lowerWire(m[headerSize : headerSize+len(".www.example.com")]) }

func these(m ...[]byte) [][]byte { return m }

func TestForgeriesAreIgnored(t *testing.T) {
	for _, test := range []struct {
		name   string
		forged func(query []byte) []byte
	}{
		{"another ID", func(q []byte) []byte { return with(honest(q), wrongID) }},
		{"another question", func(q []byte) []byte { return with(honest(q), func(m []byte) { m[headerSize+1] = 'x' }) }},
		{"another type", func(q []byte) []byte { return with(honest(q), func(m []byte) { m[headerSize+18] ^= 2 }) }},
		{"no response", func(q []byte) []byte { return q }},
		{"another opcode", func(q []byte) []byte { return with(honest(q), func(m []byte) { m[2] |= 0x10 }) }},
		{"too short", func(q []byte) []byte { return q[:headerSize-1] }},
		{"no question", func(q []byte) []byte {
			return with(q[:headerSize], func(m []byte) { m[2] |= 0x80; m[5], m[11] = 0, 0 })
		}},
		{"an empty datagram", func([]byte) []byte { return []byte{} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &scripted{udp: func(q []byte) [][]byte { return these(test.forged(q), test.forged(q), honest(q)) }}
				ignored := 0
				client := &Client{Dial: network.Dial, Trace: &Trace{Ignored: func(_ Packet, err error) {
					require.Error(t, err)
					ignored++
				}}}
				m, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
				require.NoError(t, err)
				require.Equal(t, "192.0.2.7", m.Answer[0].Data)
				require.Equal(t, "www.example.com.", m.Answer[0].Name, "as it was asked, not as the letters were mixed")
				require.Equal(t, 2, ignored)
			})
		})
	}
}

// Who guesses gets eight guesses. Then the question goes over TCP.
func TestGuessingEndsUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forged := func(n int) func(q []byte) [][]byte {
			return func(q []byte) [][]byte {
				var flood [][]byte
				for range n {
					flood = append(flood, with(honest(q), wrongID))
				}
				return append(flood, honest(q))
			}
		}
		network := &scripted{udp: forged(8), tcp: func(q []byte) [][]byte { return these(honest(q)) }}
		client := &Client{Dial: network.Dial}
		_, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.NoError(t, err)
		require.Equal(t, []string{"udp", "tcp"}, network.dials)

		// Without TCP more is borne, but not everything.
		network = &scripted{udp: forged(999)}
		client.Dial = network.Dial
		_, err = client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.NoError(t, err)
		require.Equal(t, []string{"udp", "tcp", "udp"}, network.dials)
		client.Dial = (&scripted{udp: forged(1000)}).Dial
		_, err = client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.ErrorIs(t, err, ErrTemporary)
		require.ErrorIs(t, err, errForged)
	})
}

// A server that does not repeat the letters as they were is asked over TCP; if
// it has none, without mixing.
func TestLettersLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		careless := func(q []byte) [][]byte { return these(with(honest(q), lowerCase)) }
		// All letters large: the mixing is seen.
		ask := func(network *scripted) error {
			client := &Client{Dial: network.Dial, Rand: ones{}}
			_, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
			return err
		}
		network := &scripted{udp: careless, tcp: careless}
		require.NoError(t, ask(network))
		require.Equal(t, []string{"udp", "tcp"}, network.dials)
		network = &scripted{udp: careless}
		require.NoError(t, ask(network))
		require.Equal(t, []string{"udp", "tcp", "udp"}, network.dials)
	})
}

type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestMixing(t *testing.T) {
	query, err := appendQuery(nil, "www.example-1.com.", A, true, false, 0)
	require.NoError(t, err)
	client := &Client{Rand: ones{}}
	require.NoError(t, client.mixCase(questions(query)))
	require.Equal(t, "\x03WWW\x09EXAMPLE-1\x03COM\x00\x00\x01\x00\x01", string(questions(query)))

	// Every letter is mixed, also in the longest name, and about half of them.
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61) + "."
	counts := make([]int, len(long))
	for range 200 {
		query, err := appendQuery(nil, long, A, true, true, 1232)
		require.NoError(t, err)
		require.NoError(t, new(Client).mixCase(questions(query)))
		for i, c := range questions(query)[1 : 1+len(long)] {
			if c == 'A' {
				counts[i]++
			}
		}
	}
	for i, n := range counts {
		if long[i] == 'a' {
			require.InDelta(t, 100, n, 70, "letter %d", i)
		}
	}
}

func TestTruncatedGoesOverTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &scripted{
			udp: func(q []byte) [][]byte { return these(with(honest(q), func(m []byte) { m[2] |= 2 })[:len(q)]) },
			tcp: func(q []byte) [][]byte { return these(honest(q)) },
		}
		var received []string
		client := &Client{Dial: network.Dial, Trace: &Trace{Received: func(p Packet) { received = append(received, p.Network) }}}
		m, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.NoError(t, err)
		require.False(t, m.Truncated)
		require.Equal(t, []string{"udp", "tcp"}, received)

		client = &Client{Dial: network.Dial, TCP: true}
		network.dials = nil
		_, err = client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.NoError(t, err)
		require.Equal(t, []string{"tcp"}, network.dials)
	})
}

// A server that sends more than we take is asked over TCP, too.
func TestTooLongForUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := func(q []byte) [][]byte { return these(append(honest(q), make([]byte, 2000)...)[:1500]) }
		network := &scripted{udp: long, tcp: func(q []byte) [][]byte { return these(honest(q)) }}
		client := &Client{Dial: network.Dial}
		_, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
		require.NoError(t, err)
		require.Equal(t, []string{"udp", "tcp"}, network.dials)
	})
}

// Over TLS the server must be who it should be, and nothing is asked in clear.
// A server that could not read the question does not repeat it; what else it
// sends has to stay as it is.
func TestErrorWithoutQuestion(t *testing.T) {
	network := &scripted{udp: func(q []byte) [][]byte {
		m := &Message{Header: Header{Response: true, Rcode: RcodeFormErr}, EDNS: &EDNS{UDPSize: 1400}}
		wire, err := m.Pack()
		require.NoError(t, err)
		copy(wire, q[:2])
		return these(wire)
	}}
	client := &Client{Dial: network.Dial}
	m, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
	require.NoError(t, err)
	require.Equal(t, RcodeFormErr, m.Rcode)
	require.Empty(t, m.Questions)
	require.Equal(t, uint16(1400), m.EDNS.UDPSize)
}

func TestOneQuestion(t *testing.T) {
	network := &scripted{udp: func(q []byte) [][]byte { return these(honest(q)) }}
	query := NewQuery("www.example.com.", A)
	query.Questions = append(query.Questions, query.Questions[0])
	_, err := (&Client{Dial: network.Dial}).Exchange(t.Context(), someServer, query)
	require.ErrorContains(t, err, "2 questions")
	require.NotErrorIs(t, err, ErrTemporary)
}

func TestTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, roots := testcert.Server(t, someServer.Addr().String())
		dial := func(_ context.Context, network, address string) (net.Conn, error) {
			require.Equal(t, "tcp 192.0.2.1:853", network+" "+address)
			client, server := net.Pipe()
			go func() {
				conn := tls.Server(server, config)
				defer conn.Close()
				query, err := readTCP(conn)
				if err == nil {
					response := honest(query)
					conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...))
				}
				io.Copy(io.Discard, conn)
			}()
			return client, nil
		}
		server := netip.AddrPortFrom(someServer.Addr(), 0)
		ask := func(config *tls.Config) error {
			client := &Client{Dial: dial, TLS: config}
			_, err := client.Exchange(t.Context(), server, NewQuery("www.example.com.", A))
			return err
		}
		require.NoError(t, ask(&tls.Config{RootCAs: roots}))
		require.NoError(t, ask(&tls.Config{RootCAs: roots, ServerName: "localhost"}))
		for _, wrong := range []*tls.Config{{RootCAs: roots, ServerName: "other.example"}, {RootCAs: x509.NewCertPool()}} {
			err := ask(wrong)
			require.ErrorIs(t, err, ErrTemporary)
			_, ok := errors.AsType[*tls.CertificateVerificationError](err)
			require.True(t, ok, "%v", err)
		}
	})
}

func TestExchangeFails(t *testing.T) {
	silent := func([]byte) [][]byte { return nil }
	for _, test := range []struct {
		name    string
		network *scripted
		tcp     bool
		want    error
	}{
		{"silence", &scripted{udp: silent}, false, errTimeout},
		{"refused", &scripted{}, false, syscall.ECONNREFUSED},
		{"silence over TCP", &scripted{tcp: silent}, true, errTimeout},
		{"garbage", &scripted{tcp: func(q []byte) [][]byte { return these(with(q, func(m []byte) { m[2] |= 0x80; m[7] = 200 })) }}, true, nil},
		{"another ID over TCP", &scripted{tcp: func(q []byte) [][]byte { return these(with(honest(q), wrongID)) }}, true, errWrongID},
		{"a query", &scripted{tcp: func(q []byte) [][]byte { return these(q) }}, true, errNotIt},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &Client{Dial: test.network.Dial, TCP: test.tcp, Timeout: 3 * time.Second}
				began := time.Now()
				_, err := client.Exchange(t.Context(), someServer, NewQuery("www.example.com.", A))
				require.ErrorIs(t, err, ErrTemporary)
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
				}
				typed, ok := errors.AsType[*Error](err)
				require.True(t, ok)
				require.Equal(t, someServer, typed.Server)
				require.LessOrEqual(t, time.Since(began), 3*time.Second)

				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(os.ErrProcessDone)
				_, err = client.Exchange(ctx, someServer, NewQuery("www.example.com.", A))
				require.ErrorIs(t, err, os.ErrProcessDone)
				require.NotErrorIs(t, err, ErrTemporary)
			})
		})
	}
	_, err := new(Client).Exchange(t.Context(), someServer, NewQuery("a..b", A))
	require.ErrorIs(t, err, ErrName)
	require.NotErrorIs(t, err, ErrTemporary)
}

func TestPorts(t *testing.T) {
	var dialled []string
	refuse := func(_ context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, network+" "+address)
		return nil, syscall.ECONNREFUSED
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), 0)
	_, err := (&Client{Dial: refuse}).Exchange(t.Context(), server, NewQuery("example.com.", A))
	require.Error(t, err)
	require.Equal(t, []string{"udp [2001:db8::1]:53"}, dialled)
}
