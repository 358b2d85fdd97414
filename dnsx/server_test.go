package dnsx

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// parseZone parses a zone that is known to be good.
func parseZone(t testing.TB, text string) *Zone {
	t.Helper()
	z, err := ParseZone(strings.NewReader(text), "", "")
	require.NoError(t, err)
	return z
}

// ask gives a query to a server that runs nowhere and returns the answer, nil
// if there is none.
func ask(t testing.TB, s *Server, query []byte) *Message {
	t.Helper()
	s.mu.Lock()
	s.prepare()
	s.mu.Unlock()
	q := &request{from: netip.MustParseAddrPort("127.0.0.1:5353")}
	answer, later := s.respond(nil, q, query)
	if later {
		answer = s.recurse(t.Context(), q)
	}
	if len(answer) == 0 {
		return nil
	}
	require.LessOrEqual(t, len(answer), 1232)
	m, err := ParseMessage(answer)
	require.NoError(t, err)
	require.True(t, m.Response)
	require.Equal(t, binary.BigEndian.Uint16(query), m.ID)
	return m
}

// question asks in a comfortable form.
func question(t testing.TB, s *Server, name string, typ Type) *Message {
	t.Helper()
	query, err := NewQuery(name, typ).Pack()
	require.NoError(t, err)
	return ask(t, s, query)
}

func dataOf(records []Record) (list []string) {
	for _, r := range records {
		list = append(list, r.Data)
	}
	return list
}

// Records of a set take turns at the first place, for each name on its own.
func TestRotation(t *testing.T) {
	s := &Server{Zones: []*Zone{parseZone(t, top+"www A 192.0.2.11\nwww A 192.0.2.12\nwww A 192.0.2.13\nalias CNAME www\n")}}
	first := map[string]int{}
	for range 300 {
		list := dataOf(question(t, s, "www.z.test.", A).Answer)
		first[list[0]]++
		slices.Sort(list)
		require.Equal(t, []string{"192.0.2.11", "192.0.2.12", "192.0.2.13"}, list)
	}
	require.Equal(t, map[string]int{"192.0.2.11": 100, "192.0.2.12": 100, "192.0.2.13": 100}, first)
	require.Len(t, question(t, s, "alias.z.test.", A).Answer, 4)
}

// The name comes back as it was spelt: resolvers use that against forgers.
func TestSpelling(t *testing.T) {
	s := &Server{Zones: []*Zone{parseZone(t, top+"www A 192.0.2.11\n")}}
	for _, name := range []string{"www.z.test.", "wWw.Z.tEsT.", "NoT.z.TeSt."} {
		m := question(t, s, name, A)
		require.Equal(t, name, m.Questions[0].Name)
		if len(m.Answer) > 0 {
			require.Equal(t, name, m.Answer[0].Name)
		}
	}
}

func TestAnyIsMinimal(t *testing.T) {
	s := &Server{Zones: []*Zone{parseZone(t, top+"www A 192.0.2.11\nwww TXT \"a\"\nwww MX 10 ns\n")}}
	require.Len(t, question(t, s, "www.z.test.", ANY).Answer, 1)
	require.Equal(t, SOA, question(t, s, "z.test.", ANY).Answer[0].Type)
}

// What does not fit is left out: additional records silently, others with TC.
func TestTruncation(t *testing.T) {
	var b strings.Builder
	b.WriteString(top)
	for i := range 40 {
		name := strings.Repeat(string(rune('a'+i%26)), 20+i)
		b.WriteString("many MX 10 " + name + "\n" + name + " AAAA 2001:db8::1\n" + name + " A 192.0.2.2\n")
	}
	b.WriteString("few MX 10 " + strings.Repeat("a", 20) + "\n")
	s := &Server{Zones: []*Zone{parseZone(t, b.String())}}
	q := NewQuery("few.z.test.", MX)
	q.EDNS = nil
	for _, test := range []struct {
		name       string
		size       uint16
		truncated  bool
		additional int
	}{
		{"few.z.test.", 0, false, 2},
		{"many.z.test.", 0, true, 0},
		{"many.z.test.", 1232, true, 0},
		{"many.z.test.", 65535, true, 0}, // the server's own limit counts too
	} {
		q := NewQuery(test.name, MX)
		q.EDNS = nil
		if test.size > 0 {
			q.EDNS = &EDNS{UDPSize: test.size}
		}
		query, err := q.Pack()
		require.NoError(t, err)
		m := ask(t, s, query)
		require.Equal(t, test.truncated, m.Truncated, "%s %d", test.name, test.size)
		require.Len(t, m.Additional, test.additional)
		require.Equal(t, test.size > 0, m.EDNS != nil)
	}
	s.MaxUDPSize = 512
	b.Reset()
	b.WriteString(top)
	for i := range 18 {
		b.WriteString("www A 192.0.2." + string(rune('1'+i%9)) + string(rune('0'+i/9)) + "\n")
	}
	b.WriteString("mx MX 10 www\n")
	s.SetZone(parseZone(t, b.String()))
	m := question(t, s, "mx.z.test.", MX)
	require.False(t, m.Truncated)
	require.Len(t, m.Answer, 1)
}

// A zone can be replaced while the server runs.
func TestSetZone(t *testing.T) {
	s := &Server{}
	require.Equal(t, RcodeRefused, question(t, s, "www.z.test.", A).Rcode)
	s.SetZone(parseZone(t, top+"www A 192.0.2.11\n"))
	require.Equal(t, []string{"192.0.2.11"}, dataOf(question(t, s, "www.z.test.", A).Answer))
	s.SetZone(parseZone(t, top+"www A 192.0.2.12\n"))
	require.Equal(t, []string{"192.0.2.12"}, dataOf(question(t, s, "www.z.test.", A).Answer))

	// An alias leads into another zone, also into one that comes later.
	s.SetZone(parseZone(t, top+"alias CNAME www.y.test.\nbelow CNAME www.sub\n"))
	other := "$ORIGIN y.test.\n@ SOA ns h 1 2 3 4 5\n@ NS ns.z.test.\nwww A 192.0.2."
	require.Len(t, question(t, s, "alias.z.test.", A).Answer, 1)
	s.SetZone(parseZone(t, other+"13\n"))
	require.Equal(t, []string{"www.y.test.", "192.0.2.13"}, dataOf(question(t, s, "alias.z.test.", A).Answer))
	s.SetZone(parseZone(t, other+"14\n"))
	require.Equal(t, []string{"www.y.test.", "192.0.2.14"}, dataOf(question(t, s, "alias.z.test.", A).Answer))
	require.Equal(t, RcodeNXDomain, question(t, s, "below.z.test.", A).Rcode)
	s.SetZone(parseZone(t, strings.ReplaceAll(other, "y.test", "sub.z.test")+"15\n"))
	require.Equal(t, []string{"www.sub.z.test.", "192.0.2.15"}, dataOf(question(t, s, "below.z.test.", A).Answer))
}

// gate is a Resolver whose answers wait until they are let through; names that
// begin with "now" do not wait.
type gate struct {
	asked chan string
	open  chan struct{}
}

func (g gate) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	if !strings.HasPrefix(name, "now") {
		g.asked <- name
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, ErrTemporary
		}
	}
	switch {
	case strings.HasPrefix(name, "no."):
		return &Answer{Name: name, Type: typ, Status: NXDomain, SOA: &Record{"test.", SOA, time.Minute, "ns. h. 1 2 3 4 5"}}, nil
	case strings.HasPrefix(name, "fail."):
		return nil, ErrTemporary
	}
	return &Answer{Name: name, Type: typ, Records: []Record{{name, A, time.Minute, "192.0.2.99"}}}, nil
}

func newGate() gate { return gate{make(chan string, 100), make(chan struct{})} }

func TestRecursion(t *testing.T) {
	g := newGate()
	close(g.open)
	s := &Server{Resolver: g, Zones: []*Zone{parseZone(t, top)}}
	m := question(t, s, "www.other.test.", A)
	require.Equal(t, []string{"192.0.2.99"}, dataOf(m.Answer))
	require.True(t, m.RecursionAvailable)
	require.False(t, m.Authoritative)
	m = question(t, s, "no.other.test.", A)
	require.Equal(t, RcodeNXDomain, m.Rcode)
	require.Equal(t, SOA, m.Authority[0].Type)
	require.Equal(t, RcodeServFail, question(t, s, "fail.other.test.", A).Rcode)
	require.Equal(t, RcodeNotImp, question(t, s, "www.other.test.", ANY).Rcode)
	require.True(t, question(t, s, "ns.z.test.", A).Authoritative)

	// An alias of ours that leads to others is followed there.
	s.SetZone(parseZone(t, top+"out CNAME www.other.test.\nnone CNAME no.other.test.\n*.w CNAME fail.other.test.\n"))
	m = question(t, s, "out.z.test.", A)
	require.Equal(t, []string{"www.other.test.", "192.0.2.99"}, dataOf(m.Answer))
	require.True(t, m.Authoritative) // as to the alias
	require.Equal(t, RcodeNXDomain, question(t, s, "none.z.test.", A).Rcode)
	require.Equal(t, RcodeServFail, question(t, s, "x.w.z.test.", A).Rcode)
	require.Len(t, question(t, s, "out.z.test.", CNAME).Answer, 1)

	// Nobody is asked for a client who does not want it, or may not.
	q := NewQuery("www.other.test.", A)
	q.RecursionDesired = false
	query, err := q.Pack()
	require.NoError(t, err)
	require.Equal(t, RcodeRefused, ask(t, s, query).Rcode)
	s.AllowRecursion = func(netip.Addr) bool { return false }
	require.Len(t, question(t, s, "out.z.test.", A).Answer, 1)
	m = question(t, s, "www.other.test.", A)
	require.Equal(t, RcodeRefused, m.Rcode)
	require.False(t, m.RecursionAvailable)
}

func TestAllowQuery(t *testing.T) {
	s := &Server{AllowQuery: func(client netip.Addr) bool { return !client.IsLoopback() }}
	require.Nil(t, question(t, s, "www.z.test.", A))
}

func TestNotify(t *testing.T) {
	q := NewQuery("z.test.", SOA)
	q.Opcode, q.EDNS = OpcodeNotify, nil
	q.Answer = []Record{{"z.test.", SOA, time.Hour, "ns.z.test. h.z.test. 2 2 3 4 5"}}
	query, err := q.Pack()
	require.NoError(t, err)
	require.Equal(t, RcodeNotImp, ask(t, &Server{}, query).Rcode)
	var told string
	s := &Server{Notified: func(client netip.Addr, zone string) bool {
		told = zone + " " + client.String()
		return zone == "z.test."
	}}
	m := ask(t, s, query)
	require.Equal(t, RcodeNoError, m.Rcode)
	require.Equal(t, OpcodeNotify, m.Opcode)
	require.True(t, m.Authoritative)
	require.Equal(t, "z.test. 127.0.0.1", told)
	q.Questions[0].Name = "other.test."
	query, err = q.Pack()
	require.NoError(t, err)
	require.Equal(t, RcodeRefused, ask(t, s, query).Rcode)
}

// A server of the tests runs on a simulated network, in a bubble.
type simServer struct {
	*Server
	gate
	host  *simnet.Host // a client
	ended chan error
}

func inSim(t *testing.T, s *Server, f func(t *testing.T, s simServer)) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate() // channels belong to the bubble in which they were made
		s.Resolver = g
		nw := &simnet.Network{Link: simnet.Link{Delay: time.Millisecond}}
		at := nw.Host(netip.MustParseAddr("10.0.0.53"))
		pc, err := at.ListenPacket("udp", "10.0.0.53:53")
		require.NoError(t, err)
		ln, err := at.Listen("tcp", "10.0.0.53:53")
		require.NoError(t, err)
		if s.AllowRecursion == nil {
			s.AllowRecursion = func(netip.Addr) bool { return true }
		}
		sim := simServer{s, g, nw.Host(netip.MustParseAddr("10.0.0.1")), make(chan error, 1)}
		go func() { sim.ended <- s.Serve(t.Context(), pc, ln) }()
		defer s.Close()
		f(t, sim)
	})
}

func (s simServer) dial(t *testing.T, network string) net.Conn {
	t.Helper()
	conn, err := s.host.Dial(network, "10.0.0.53:53")
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func queryWire(t testing.TB, name string, typ Type, id uint16) []byte {
	t.Helper()
	q := NewQuery(name, typ)
	q.ID = id
	wire, err := q.Pack()
	require.NoError(t, err)
	return wire
}

func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// receive reads one answer; nil when the connection ends.
func receive(t testing.TB, conn net.Conn, network string) *Message {
	t.Helper()
	buf := make([]byte, 65535)
	var n int
	var err error
	if network == "udp" {
		n, err = conn.Read(buf)
	} else if _, err = io.ReadFull(conn, buf[:2]); err == nil {
		n = int(binary.BigEndian.Uint16(buf))
		_, err = io.ReadFull(conn, buf[:n])
	}
	if err != nil {
		return nil
	}
	m, err := ParseMessage(buf[:n])
	require.NoError(t, err)
	return m
}

// Answers that have to be waited for do not hold up the others, over UDP or on one connection.
func TestSlowAnswersHoldUpNobody(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		inSim(t, &Server{}, func(t *testing.T, s simServer) {
			conn := s.dial(t, network)
			send := func(msg []byte) {
				if network == "tcp" {
					msg = framed(msg)
				}
				_, err := conn.Write(msg)
				require.NoError(t, err)
			}
			send(queryWire(t, "slow.test.", A, 1))
			require.Equal(t, "slow.test.", <-s.asked)
			send(queryWire(t, "now.test.", A, 2))
			require.Equal(t, uint16(2), receive(t, conn, network).ID)
			close(s.open)
			require.Equal(t, uint16(1), receive(t, conn, network).ID)
			require.Equal(t, uint64(2), s.Stats().Forwarded)
		})
	}
}

// A resolver that never answers costs a client its patience, and the server
// nothing but a bounded number of waiting questions.
func TestFloodOfSlowQuestions(t *testing.T) {
	inSim(t, &Server{MaxWaiting: 10, QueryTimeout: 2 * time.Second}, func(t *testing.T, s simServer) {
		conn := s.dial(t, "udp")
		for id := range uint16(50) {
			_, err := conn.Write(queryWire(t, "slow.test.", A, id))
			require.NoError(t, err)
		}
		start := time.Now()
		for range 40 {
			require.Equal(t, RcodeServFail, receive(t, conn, "udp").Rcode)
		}
		require.Less(t, time.Since(start), time.Second)
		for range 10 {
			require.Equal(t, RcodeServFail, receive(t, conn, "udp").Rcode)
		}
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
	})
}

// Garbage gets an error or nothing, and the next query its answer.
func TestGarbage(t *testing.T) {
	good := queryWire(t, "ns.z.test.", A, 7)
	response := slices.Clone(good)
	response[2] |= 0x80
	loop := append(slices.Clone(good[:12]), 0xc0, 12, 0, 1, 0, 1)
	inSim(t, &Server{Zones: []*Zone{parseZone(t, top)}}, func(t *testing.T, s simServer) {
		conn := s.dial(t, "udp")
		silent := [][]byte{{}, {1}, good[:11], response}
		for _, msg := range silent {
			_, err := conn.Write(msg)
			require.NoError(t, err)
		}
		for _, msg := range [][]byte{good[:12], good[:20], loop, append(slices.Clone(good), 0), good[:len(good)-3]} {
			_, err := conn.Write(msg)
			require.NoError(t, err)
			require.Equal(t, RcodeFormErr, receive(t, conn, "udp").Rcode)
		}
		_, err := conn.Write(good)
		require.NoError(t, err)
		require.Equal(t, RcodeNoError, receive(t, conn, "udp").Rcode)
		require.Equal(t, uint64(len(silent)), s.Stats().Dropped)

		// Over TCP what deserves no answer ends the connection.
		tcp := s.dial(t, "tcp")
		_, err = tcp.Write(append(framed(response), framed(good)...))
		require.NoError(t, err)
		require.Nil(t, receive(t, tcp, "tcp"))
	})
}

// Clients that are slow are given up after a while; those that pipeline are answered in full.
func TestConnections(t *testing.T) {
	inSim(t, &Server{Zones: []*Zone{parseZone(t, top)}, MaxConns: 2, IdleTimeout: 5 * time.Second}, func(t *testing.T, s simServer) {
		idle := s.dial(t, "tcp")
		slow := s.dial(t, "tcp")
		third := s.dial(t, "tcp") // has to wait for one of the others to end
		_, err := third.Write(append(framed(queryWire(t, "ns.z.test.", A, 1)), framed(queryWire(t, "z.test.", NS, 2))...))
		require.NoError(t, err)
		msg := framed(queryWire(t, "ns.z.test.", A, 1))
		start := time.Now()
		for i := range msg[:20] { // an octet a second: never done within the limit
			if _, err := slow.Write(msg[i : i+1]); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		require.Nil(t, receive(t, idle, "tcp"))
		require.Nil(t, receive(t, slow, "tcp"))
		require.Equal(t, uint16(1), receive(t, third, "tcp").ID)
		require.Equal(t, uint16(2), receive(t, third, "tcp").ID)
		require.Less(t, time.Since(start), 21*time.Second)
	})
}

// Shutdown lets waiting questions be answered, Close does not.
func TestShutdown(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		for _, gentle := range []bool{true, false} {
			inSim(t, &Server{}, func(t *testing.T, s simServer) {
				conn := s.dial(t, network)
				msg := queryWire(t, "slow.test.", A, 1)
				if network == "tcp" {
					msg = framed(msg)
				}
				_, err := conn.Write(msg)
				require.NoError(t, err)
				<-s.asked
				if !gentle {
					require.NoError(t, s.Close())
					require.ErrorIs(t, <-s.ended, ErrServerClosed)
					require.ErrorIs(t, s.Serve(t.Context(), nil, nil), ErrServerClosed)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
				var wait sync.WaitGroup
				wait.Go(func() { require.NoError(t, s.Shutdown(t.Context())) })
				close(s.open)
				require.Equal(t, uint16(1), receive(t, conn, network).ID)
				wait.Wait()
				require.ErrorIs(t, <-s.ended, ErrServerClosed)
			})
		}
	}
}

// The end of Serve's context closes the server.
func TestServeContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pc, ln, err := Listen(ctx, "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{}
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, pc, ln) }()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, s.Serve(t.Context(), nil, nil), ErrServerClosed)
}

// A socket that fails ends Serve with its error.
func TestServeFails(t *testing.T) {
	pc, ln, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	s := &Server{}
	require.ErrorIs(t, s.Serve(t.Context(), pc, ln), net.ErrClosed)
	require.NoError(t, s.Close())
}

func TestServerTrace(t *testing.T) {
	var seen chan Exchange
	s := &Server{Zones: []*Zone{parseZone(t, top)}, Trace: &ServerTrace{Answered: func(e Exchange) { seen <- e }}}
	inSim(t, s, func(t *testing.T, s simServer) {
		seen = make(chan Exchange, 10)
		conn := s.dial(t, "udp")
		_, err := conn.Write(queryWire(t, "No.z.test.", MX, 1))
		require.NoError(t, err)
		m := receive(t, conn, "udp")
		e := <-seen
		require.Equal(t, Question{"No.z.test.", MX, 1}, e.Question)
		require.Equal(t, RcodeNXDomain, e.Rcode)
		require.Equal(t, m.Rcode, e.Rcode)
		require.Equal(t, "10.0.0.1", e.Client.Addr().String())
		require.Equal(t, "udp", e.Server.Network())
	})
}

// transferZone asks for a zone over TCP with miekg/dns and returns its records.
func transferZone(addr, zone string) (records []dns.RR, err error) {
	tr := &dns.Transfer{DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second}
	envelopes, err := tr.In(new(dns.Msg).SetAxfr(zone), addr)
	if err != nil {
		return nil, err
	}
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
		}
		records = append(records, e.RR...)
	}
	return records, err
}

func TestTransfer(t *testing.T) {
	var b strings.Builder
	b.WriteString(top)
	b.WriteString("$GENERATE 1-3000 host$ TXT \"some text to make the zone take more than one message\"\n")
	zone := parseZone(t, b.String())
	allowed := startServer(t, &Server{Zones: []*Zone{zone}, AllowTransfer: netip.Addr.IsLoopback})
	records, err := transferZone(allowed, "z.test.")
	require.NoError(t, err)
	require.Len(t, records, 3+3000+1)
	require.Equal(t, dns.TypeSOA, records[0].Header().Rrtype)
	require.Equal(t, dns.TypeSOA, records[len(records)-1].Header().Rrtype)

	_, err = transferZone(allowed, "www.z.test.")
	require.ErrorContains(t, err, "bad xfr rcode: 9")
	_, err = transferZone(startServer(t, &Server{Zones: []*Zone{zone}}), "z.test.")
	require.ErrorContains(t, err, "bad xfr rcode: 5")
}

// A socket for all addresses answers from the one that was asked.
func TestWildcardSocket(t *testing.T) {
	for _, test := range [][2]string{{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.7"}, {"[::]:0", "::1"}, {"[::]:0", "127.0.0.7"}} {
		pc, ln, err := Listen(t.Context(), test[0])
		if err != nil {
			t.Logf("%s: %v", test[0], err) // no IPv6 here
			continue
		}
		s := &Server{Zones: []*Zone{parseZone(t, top)}}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(t.Context(), pc, ln) }()
		at := net.JoinHostPort(test[1], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		if conn, err := net.Dial("tcp", at); err != nil {
			t.Logf("%s: %v", at, err) // the system has only 127.0.0.1, or no sockets for both families
		} else {
			conn.Close()
			udp, err := net.Dial("udp", at) // connected: hears nobody else
			require.NoError(t, err)
			require.NoError(t, udp.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = udp.Write(queryWire(t, "ns.z.test.", A, 1))
			require.NoError(t, err)
			if runtime.GOOS == "linux" || test[1] == "127.0.0.1" || test[1] == "::1" {
				require.NotNil(t, receive(t, udp, "udp"), at)
			}
			udp.Close()
		}
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-ended, ErrServerClosed)
	}
}

// Any net.PacketConn will do.
func TestAnyPacketConn(t *testing.T) {
	pc, ln, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Zones: []*Zone{parseZone(t, top)}}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), struct{ net.PacketConn }{pc}, ln) }()
	conn, err := net.Dial("udp", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(queryWire(t, "ns.z.test.", A, 1))
	require.NoError(t, err)
	require.NotNil(t, receive(t, conn, "udp"))
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-ended, ErrServerClosed)
}

// Questions, transfers and changes of zones at the same time do not disturb each other.
func TestConcurrent(t *testing.T) {
	zone := loadZone(t, "plant.test")
	s := &Server{Zones: []*Zone{zone, loadZone(t, "child.plant.test")}, AllowTransfer: netip.Addr.IsLoopback}
	addr := startServer(t, s)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			_, err := transferZone(addr, "plant.test.")
			assert.NoError(t, err)
		})
		wait.Go(func() {
			for r := range zone.Records() {
				s.SetZone(zone)
				assert.NotNil(t, question(t, s, r.Name, r.Type))
				assert.NotNil(t, question(t, s, "x."+r.Name, r.Type))
			}
		})
	}
	wait.Wait()
}

func FuzzServer(f *testing.F) {
	zones := []*Zone{loadZone(f, "plant.test"), loadZone(f, "child.plant.test")}
	for _, name := range []string{"www.plant.test.", "nowhere.plant.test.", "a.old.plant.test.", "www.below.plant.test.", "other.test."} {
		for _, typ := range []Type{A, MX, ANY, AXFR, Type(dns.TypeIXFR), Type(dns.TypeDS)} {
			f.Add(queryWire(f, name, typ, 1), false)
		}
	}
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x01\x05plant\x04test\x00\x00\xfb\x00\x01"), true)
	g := newGate()
	close(g.open)
	f.Fuzz(func(t *testing.T, query []byte, stream bool) {
		s := &Server{Zones: zones, AllowTransfer: netip.Addr.IsLoopback}
		s.prepare()
		q := &request{from: netip.MustParseAddrPort("127.0.0.1:5353"), stream: stream}
		answer, _ := s.respond(nil, q, query)
		if q.zone != nil {
			require.NoError(t, s.sendZone(q, func([]byte) error { return nil }))
		}
		if len(answer) == 0 {
			return
		}
		require.GreaterOrEqual(t, len(answer), headerSize)
		require.Equal(t, query[:2], answer[:2])
		require.NotZero(t, answer[2]&0x80)
		if !stream {
			require.LessOrEqual(t, len(answer), 1232)
		}
		m := new(dns.Msg)
		require.NoError(t, m.Unpack(answer))
		// Another reader finds the same question in the query.
		theirs := new(dns.Msg)
		if m.Rcode != dns.RcodeFormatError && theirs.Unpack(query) == nil && len(m.Question) == 1 {
			require.Equal(t, theirs.Question, m.Question)
		}
	})
}

func BenchmarkServer(b *testing.B) {
	s := &Server{Zones: []*Zone{loadZone(b, "plant.test")}}
	s.prepare()
	for name, query := range map[string][]byte{
		"Exact":    queryWire(b, "mail.plant.test.", A, 1),
		"NXDomain": queryWire(b, "nowhere.plant.test.", A, 1),
		"Alias":    queryWire(b, "alias2.plant.test.", A, 1),
		"Referral": queryWire(b, "www.below.plant.test.", A, 1),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			q := &request{}
			out := make([]byte, 0, 1500)
			for b.Loop() {
				out, _ = s.respond(out[:0], q, query)
			}
		})
	}
}

// When too many questions wait, one more is dropped rather than sent as Rewrite
// has not seen it.
func TestRewriteHasTheLastWord(t *testing.T) {
	rewriting, release := make(chan struct{}), make(chan struct{})
	s := &Server{MaxWaiting: 1, Rewrite: func(_ context.Context, _ Exchange, _, answer []byte) [][]byte {
		rewriting <- struct{}{}
		<-release
		return [][]byte{answer}
	}}
	s.prepare()
	query, err := NewQuery("www.example.com.", A).Pack()
	require.NoError(t, err)
	q := &request{from: netip.MustParseAddrPort("127.0.0.1:5353")}
	answer, later := s.respond(nil, q, query)
	sent := make(chan []byte, 2)
	send := func(msg []byte) error { sent <- msg; return nil }
	var pending sync.WaitGroup
	s.deferAnswer(t.Context(), q, answer, later, nil, &pending, send)
	<-rewriting
	s.deferAnswer(t.Context(), q, answer, later, nil, &pending, send)
	close(release)
	pending.Wait()
	require.Len(t, sent, 1)
	require.Equal(t, uint64(1), s.Stats().Dropped)
}

// A context that ends before Serve has begun is the reason why it returns, also
// if it has closed the server by then.
func TestServeWithEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Server{}
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Serve(ctx, nil, nil), context.Canceled)
}
