package dnstest_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// simulated starts an Internet on a simulated network, within a bubble.
func simulated(t *testing.T) (*dnstest.Internet, *simnet.Network) {
	nw := &simnet.Network{Link: simnet.Link{Delay: 5 * time.Millisecond}}
	in, err := dnstest.Start(dnstest.Config{Network: dnstest.On(nw.Host)})
	require.NoError(t, err)
	t.Cleanup(func() { in.Close() })
	return in, nw
}

// ask sends one query and returns the answer, or nil if none comes.
func ask(t *testing.T, in *dnstest.Internet, network string, server netip.Addr, name string, typ dnsx.Type) *dnsx.Message {
	t.Helper()
	query, err := dnsx.NewQuery(name, typ).Pack()
	require.NoError(t, err)
	wire := exchange(t, in, network, server, query)
	if wire == nil {
		return nil
	}
	m, err := dnsx.ParseMessage(wire)
	require.NoError(t, err)
	return m
}

func exchange(t *testing.T, in *dnstest.Internet, network string, server netip.Addr, query []byte) []byte {
	t.Helper()
	conn, err := in.Dial(t.Context(), network, netip.AddrPortFrom(server, in.Port()).String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Second)))
	if network == "udp" {
		_, err = conn.Write(query)
		require.NoError(t, err)
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		if err != nil {
			return nil
		}
		return buf[:n]
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	require.NoError(t, err)
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(conn, buf)
	require.NoError(t, err)
	return buf
}

func TestWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := simulated(t)
		require.Equal(t, uint16(53), in.Port())
		require.Contains(t, in.RootHints(), "a.root-servers.net.\t86400\tIN\tA\t10.53.0.1\n")
		for _, test := range []struct {
			a, b    byte
			name    string
			typ     dnsx.Type
			section string // of the answer
			want    string
		}{
			{0, 1, "www.example.com.", dnsx.A, "authority", "com. NS a.gtld-servers.net."},
			{0, 1, "www.example.com.", dnsx.A, "additional", "a.gtld-servers.net. A 10.53.1.1"},
			{1, 1, "www.example.com.", dnsx.A, "additional", "ns1.example.com. A 10.53.10.1"},
			{10, 1, "www.example.com.", dnsx.A, "answer", "www.example.com. A 10.53.10.10"},
			{10, 2, "big.example.com.", dnsx.TXT, "truncated", ""},
			{1, 3, "www.example.org.", dnsx.A, "authority", "example.org. NS ns1.example.net."},
			{2, 2, "chain1.example.org.", dnsx.A, "answer", "chain9.example.org. A 10.53.12.14"},
			{2, 1, "10.10.53.10.in-addr.arpa.", dnsx.PTR, "authority", "53.10.in-addr.arpa. NS ns1.example.net."},
			{2, 2, "10.10.53.10.in-addr.arpa.", dnsx.PTR, "answer", "10.10.53.10.in-addr.arpa. PTR example.com."},
			{2, 2, "10.14.53.10.in-addr.arpa.", dnsx.PTR, "answer", "10.14.53.10.in-addr.arpa. PTR web1.unizocalo.es."},
			{1, 5, "www.alfa.co.uk.", dnsx.A, "authority", "alfa.co.uk. NS ns1.alfa.co.uk."},
			{14, 1, "www.cs.unizocalo.es.", dnsx.A, "authority", "cs.unizocalo.es. NS ns.cs.unizocalo.es."},
			{1, 6, "www.fanout.test.", dnsx.A, "authority", "fanout.test. NS ns60.nowhere.example.net."},
			{21, 2, "www.a.a.a.deep.test.", dnsx.A, "answer", "www.a.a.a.deep.test. A 10.53.30.21"},
		} {
			m := ask(t, in, "udp", in.Addr(test.a, test.b), test.name, test.typ)
			require.NotNil(t, m, test.name)
			list := map[string][]dnsx.Record{"answer": m.Answer, "authority": m.Authority, "additional": m.Additional}[test.section]
			var texts []string
			for _, r := range list {
				texts = append(texts, r.Name+" "+r.Type.String()+" "+r.Data)
			}
			if test.section == "truncated" {
				require.True(t, m.Truncated, test.name)
				continue
			}
			require.Contains(t, texts, test.want, "%s %s", test.name, test.section)
		}
		require.Equal(t, 2, in.Queries(in.Addr(0, 1)))
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := simulated(t)
		query := func(fault byte, network, name string) *dnsx.Message {
			return ask(t, in, network, in.Addr(20, fault), name, dnsx.A)
		}
		require.Nil(t, query(1, "udp", "www.silent.test."))
		before := time.Now()
		require.Len(t, query(2, "udp", "www.slow.test.").Answer, 1)
		require.GreaterOrEqual(t, time.Since(before), 500*time.Millisecond)
		lame := query(3, "udp", "www.lame.test.")
		require.False(t, lame.Authoritative)
		require.Equal(t, ".", lame.Authority[0].Name)
		require.Equal(t, dnsx.RcodeRefused, query(4, "udp", "www.refusing.test.").Rcode)
		require.Equal(t, dnsx.RcodeServFail, query(5, "tcp", "www.failing.test.").Rcode)
		wire, err := dnsx.NewQuery("www.garbage.test.", dnsx.A).Pack()
		require.NoError(t, err)
		_, err = dnsx.ParseMessage(exchange(t, in, "udp", in.Addr(20, 6), wire))
		require.Error(t, err)
		require.True(t, query(7, "udp", "www.truncating.test.").Truncated)
		require.Len(t, query(7, "tcp", "www.truncating.test.").Answer, 1)
		forged := query(8, "udp", "www.forging.test.")
		require.Equal(t, "www.example.com.", forged.Additional[0].Name)
		require.Equal(t, "com.", forged.Authority[len(forged.Authority)-1].Name)
		wrong := dnsx.NewQuery("www.wrongid.test.", dnsx.A)
		wire, err = wrong.Pack()
		require.NoError(t, err)
		require.NotEqual(t, wire[:2], exchange(t, in, "udp", in.Addr(20, 9), wire)[:2])
	})
}

func TestSetZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := simulated(t)
		const zone = "$ORIGIN new.com.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 127.53.40.1\nwww A 127.53.40.2\n"
		require.NoError(t, in.SetZone(zone))
		require.Equal(t, "10.53.40.1", ask(t, in, "udp", in.Addr(1, 1), "www.new.com.", dnsx.A).Additional[0].Data)
		require.Equal(t, "10.53.40.2", ask(t, in, "udp", in.Addr(40, 1), "www.new.com.", dnsx.A).Answer[0].Data)
		require.NoError(t, in.SetZone(strings.ReplaceAll(zone, "40.2", "40.3")))
		require.Equal(t, "10.53.40.3", ask(t, in, "udp", in.Addr(40, 1), "www.new.com.", dnsx.A).Answer[0].Data)
		require.Error(t, in.SetZone("nonsense"))
		mine := dnsx.Record{Name: "mine.com.", Type: dnsx.NS, TTL: time.Hour, Data: "ns.example.net."}
		require.NoError(t, in.Add("com.", mine))
		require.Equal(t, "ns.example.net.", ask(t, in, "udp", in.Addr(1, 1), "www.mine.com.", dnsx.A).Authority[0].Data)
		require.ErrorContains(t, in.Add("gone.com.", mine), "no zone")
		require.ErrorContains(t, in.Add("org.", mine), "outside of the zone org.")
		require.NoError(t, in.SetFault(in.Addr(40, 1), dnstest.Refusing()))
		require.Equal(t, dnsx.RcodeRefused, ask(t, in, "udp", in.Addr(40, 1), "www.new.com.", dnsx.A).Rcode)
		require.NoError(t, in.SetFault(in.Addr(40, 1), nil))
		require.Equal(t, dnsx.RcodeNoError, ask(t, in, "udp", in.Addr(40, 1), "www.new.com.", dnsx.A).Rcode)
	})
}

func TestRealSockets(t *testing.T) {
	asked := make(chan netip.Addr, 1)
	in, err := dnstest.Start(dnstest.Config{Trace: func(server netip.Addr, _ dnsx.Exchange) { asked <- server }})
	require.NoError(t, err)
	defer in.Close()
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, in, network, in.Addr(10, 2), "www.example.com.", dnsx.A)
		require.Equal(t, "127.53.10.10", m.Answer[0].Data)
		require.Equal(t, in.Addr(10, 2), <-asked)
	}
	require.NoError(t, in.Close())
	require.ErrorIs(t, in.SetZone("$ORIGIN x.com.\n@ 1 SOA ns h 1 2 3 4 5\n@ 1 NS ns"), net.ErrClosed)
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		in, err := dnstest.Start(dnstest.Config{})
		if err != nil {
			b.Fatal(err)
		}
		in.Close()
	}
}

// Close waits for traces, which may ask the Internet about itself.
func TestCloseDuringTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := &simnet.Network{}
		var in *dnstest.Internet
		asked, closing := make(chan struct{}), make(chan struct{})
		traced := 0
		in, err := dnstest.Start(dnstest.Config{Network: dnstest.On(nw.Host), Trace: func(server netip.Addr, _ dnsx.Exchange) {
			close(asked)
			<-closing
			time.Sleep(time.Second) // Close has begun
			traced = in.Queries(server)
		}})
		require.NoError(t, err)
		conn, err := in.Dial(t.Context(), "udp", netip.AddrPortFrom(in.Addr(0, 1), in.Port()).String())
		require.NoError(t, err)
		defer conn.Close()
		query, err := dnsx.NewQuery("com.", dnsx.NS).Pack()
		require.NoError(t, err)
		_, err = conn.Write(query)
		require.NoError(t, err)
		<-asked
		close(closing)
		require.NoError(t, in.Close())
		require.Equal(t, 1, traced)
	})
}
