package dnsx

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// response is a message with something of everything.
func response() *Message {
	return &Message{
		Header: Header{
			ID: 0x1234, Response: true, Authoritative: true, RecursionDesired: true, RecursionAvailable: true,
			AuthenticData: true, CheckingDisabled: true, Rcode: RcodeBadVers,
		},
		Questions: []Question{{Name: "www.Example.com.", Type: ANY, Class: 1}},
		Answer: []Record{
			{Name: "www.Example.com.", Type: A, TTL: time.Hour, Data: "192.0.2.1"},
			{Name: "www.Example.com.", Type: AAAA, TTL: time.Hour, Data: "2001:db8::1"},
			{Name: "www.Example.com.", Type: AAAA, TTL: time.Hour, Data: "::ffff:192.0.2.1"},
			{Name: "www.Example.com.", Type: MX, Data: "10 mail.example.com."},
			{Name: "www.Example.com.", Type: TXT, TTL: time.Second, Data: `"a \"quoted\" text" "\000\255"`},
			{Name: "www.Example.com.", Type: SRV, TTL: time.Second, Data: "1 2 443 www.example.com."},
			{Name: `a\.b\000.example.com.`, Type: CNAME, TTL: time.Second, Data: `c\032d.example.com.`},
			{Name: "x.example.com.", Type: Type(65280), TTL: time.Second, Data: `\# 3 010203`},
			{Name: "x.example.com.", Type: Type(65280), TTL: time.Second, Data: `\# 0 `},
		},
		Authority: []Record{
			{Name: "example.com.", Type: NS, TTL: time.Hour, Data: "ns1.example.com."},
			{Name: "example.com.", Type: SOA, TTL: time.Hour, Data: "ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300"},
		},
		Additional: []Record{{Name: "ns1.example.com.", Type: A, TTL: time.Hour, Data: "192.0.2.53"}},
		EDNS:       &EDNS{UDPSize: 1232, DNSSECOK: true, Options: []EDNSOption{{Code: 65001, Data: []byte("data")}, {Code: 10, Data: []byte("cookie42")}}},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	want := response()
	wire, err := want.Pack()
	require.NoError(t, err)
	got, err := ParseMessage(wire)
	require.NoError(t, err)
	for i, r := range got.Answer { // a space after the length may be there or not
		got.Answer[i].Data = strings.TrimSpace(r.Data)
		want.Answer[i].Data = strings.TrimSpace(want.Answer[i].Data)
	}
	for i, r := range got.Answer[6:7] {
		require.Equal(t, wireName(want.Answer[6+i].Data), wireName(r.Data), "escapes may be spelled otherwise")
		got.Answer[6+i].Data = want.Answer[6+i].Data
	}
	require.Equal(t, want, got)
}

// The octets of the package notes.
func TestGoldenQuery(t *testing.T) {
	m := NewQuery("example.com.", MX)
	m.ID = 0x1a2b
	wire, err := m.Pack()
	require.NoError(t, err)
	const golden = "1a2b 0100 0001 0000 0000 0001" + "07 6578616d706c65 03 636f6d 00 000f 0001" + "00 0029 04d0 00000000 0000"
	require.Equal(t, strings.ReplaceAll(golden, " ", ""), hex.EncodeToString(wire))

	ours, err := appendQuery(nil, "example.com.", MX, true, true, 1232)
	require.NoError(t, err)
	ours[0], ours[1] = 0x1a, 0x2b
	require.Equal(t, wire, ours, "what resolvers send")
}

func TestPackRefuses(t *testing.T) {
	for _, r := range []Record{
		{Name: "a..b", Type: A, Data: "192.0.2.1"},
		{Name: "a.", Type: A, Data: "2001:db8::1"},
		{Name: "a.", Type: AAAA, Data: "192.0.2.1"},
		{Name: "a.", Type: AAAA, Data: "fe80::1%eth0"},
		{Name: "a.", Type: A},
		{Name: "a.", Type: MX, Data: "mail.example.com."},
		{Name: "a.", Type: MX, Data: "10 a..b."},
		{Name: "a.", Type: MX, Data: ""},
		{Name: "a.", Type: ANY, Data: "x"},
		{Name: "a.", Type: Type(dns.TypeOPT), Data: "x"},
		{Name: "a.", Type: CNAME, Data: "b..c."},
		{Name: "a.", Type: TXT, Data: `"not closed`},
		{Name: "a.", Type: Type(65280), Data: `\# 2 01`},
	} {
		_, err := (&Message{Answer: []Record{r}}).Pack()
		require.Error(t, err, "%v", r)
	}
	_, err := (&Message{Questions: []Question{{Name: "a..b"}}}).Pack()
	require.ErrorIs(t, err, ErrName)
	many := &Message{}
	for range 300 {
		many.Answer = append(many.Answer, Record{Name: "a.", Type: TXT, Data: strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 4)})
	}
	_, err = many.Pack()
	require.Error(t, err)
}

// Hostile packets: nothing is believed that is not there.
func TestParseMessageRefuses(t *testing.T) {
	good, err := response().Pack()
	require.NoError(t, err)
	header := good[:12]
	for _, test := range []struct {
		name string
		wire []byte
	}{
		{"nothing", nil},
		{"half a header", header[:11]},
		{"counts without records", header},
		{"a name that points to itself", append(bytes.Clone(header[:12]), 0xc0, 12, 0, 1, 0, 1)},
		{"two names that point to each other", append(bytes.Clone(header[:12]), 0xc0, 14, 0xc0, 12, 0, 1, 0, 1)},
		{"a pointer past the end", append(bytes.Clone(header[:12]), 0xff, 0xff, 0, 1, 0, 1)},
		{"a label past the end", append(bytes.Clone(header[:12]), 63, 'a')},
		{"a label of 64", append(append(bytes.Clone(header[:12]), 64), bytes.Repeat([]byte{'a'}, 70)...)},
		{"an alias of nothing", append([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x05\x00\x01"), make([]byte, 6)...)},
		{"65,536 octets", append(bytes.Clone(good), make([]byte, 65536-len(good))...)},
	} {
		_, err := ParseMessage(test.wire)
		require.Error(t, err, test.name)
	}
	for n := range len(good) {
		_, err := ParseMessage(good[:n])
		require.Error(t, err, "cut off after %d octets", n)
	}
}

// Other classes than the Internet's are not ours.
func TestOtherClasses(t *testing.T) {
	msg := new(dns.Msg)
	rr, err := dns.NewRR(`version.bind. 0 CH TXT "1"`)
	require.NoError(t, err)
	msg.Answer = []dns.RR{rr}
	wire, err := msg.Pack()
	require.NoError(t, err)
	m, err := ParseMessage(wire)
	require.NoError(t, err)
	require.Empty(t, m.Answer)
}

func TestMnemonics(t *testing.T) {
	require.Equal(t, "NXDOMAIN", RcodeNXDomain.String())
	require.Equal(t, "BADVERS", RcodeBadVers.String())
	require.Equal(t, "RCODE3841", Rcode(3841).String())
	require.Equal(t, "UPDATE", OpcodeUpdate.String())
	require.Equal(t, "OPCODE7", Opcode(7).String())
	require.Equal(t, "TYPE65280", Type(65280).String())
	for _, text := range []string{"mx", "TYPE15", "type15"} {
		typ, err := ParseType(text)
		require.NoError(t, err)
		require.Equal(t, MX, typ)
	}
	_, err := ParseType("nonsense")
	require.Error(t, err)
	require.Equal(t, "nodata", NoData.String())
	require.Equal(t, uint32(0), seconds(-time.Second))
	require.Equal(t, time.Duration(0), duration(1<<31), "RFC 2181 section 8")
}

func FuzzParseMessage(f *testing.F) {
	good, err := response().Pack()
	require.NoError(f, err)
	f.Add(good)
	query, err := NewQuery("example.com.", MX).Pack()
	require.NoError(f, err)
	f.Add(query)
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := ParseMessage(wire)
		if err != nil {
			return
		}
		for _, r := range m.Answer {
			_ = r.String()
		}
		again, err := m.Pack()
		if err != nil {
			return // such as types of which only the wire form is valid
		}
		if _, err := ParseMessage(again); err != nil {
			t.Fatalf("%v\n%+v\n%x", err, m, again)
		}
	})
}

// FuzzJudge gives a hostile response to the iterative resolver's judgement.
// Whatever it says, only names of the zone are believed.
func FuzzJudge(f *testing.F) {
	good, err := response().Pack()
	require.NoError(f, err)
	f.Add(good)
	for _, m := range []*Message{
		{Header: Header{Response: true, Authoritative: true}, Answer: []Record{{Name: "www.example.com.", Type: CNAME, Data: "a.example.com."}, {Name: "a.example.com.", Type: A, Data: "192.0.2.1"}}},
		{Header: Header{Response: true, Authoritative: true}, Answer: []Record{{Name: "example.com.", Type: DNAME, Data: "example.org."}}},
		{Header: Header{Response: true}, Authority: []Record{{Name: "www.example.com.", Type: NS, Data: "ns.example.com."}}, Additional: []Record{{Name: "ns.example.com.", Type: A, Data: "192.0.2.1"}}},
	} {
		wire, err := m.Pack()
		require.NoError(f, err)
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := unpack(wire)
		if err != nil {
			return
		}
		cut := &zoneCut{zone: "example.com."}
		c := &chain{end: "www.example.com."}
		v := cut.judge(m, c, A)
		for _, r := range c.records {
			require.True(t, InZone(r.Name, cut.zone), "%v", r)
		}
		if v.outcome == OutcomeReferral {
			require.True(t, InZone(v.child.zone, cut.zone))
			require.NotEqual(t, cut.zone, v.child.zone)
			for _, server := range v.child.servers {
				require.True(t, len(server.Addrs) == 0 || InZone(server.Name, cut.zone))
			}
		}
		require.Equal(t, v.outcome == OutcomeAnswer, c.found)
		if _, err := new(Stub).read(m, "www.example.com.", A); err != nil {
			require.ErrorIs(t, err, ErrTemporary)
		}
	})
}

func FuzzConfigFiles(f *testing.F) {
	f.Add(". 3600 IN NS a.root.\na.root. 3600 IN A 192.0.2.1\n")
	f.Add("nameserver 192.0.2.1\nsearch example.com\noptions ndots:2\n")
	f.Add("127.0.0.1 localhost\n::1 localhost\n")
	f.Fuzz(func(t *testing.T, text string) {
		if roots, err := ParseHints(strings.NewReader(text)); err == nil {
			require.NotEmpty(t, roots)
		}
		if stub, err := ParseResolvConf(strings.NewReader(text)); err == nil {
			require.NotEmpty(t, stub.Servers)
			_, err := stub.Candidates("www")
			require.NoError(t, err)
		}
		if hosts, err := ParseHosts(strings.NewReader(text)); err == nil {
			hosts.lookup("localhost.", A)
		}
	})
}
