package dnsx

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// An Opcode says what a message asks for [RFC 1035 section 4.1.1].
//
// [RFC 1035 section 4.1.1]: https://www.rfc-editor.org/rfc/rfc1035#section-4.1.1
type Opcode uint8

// The opcodes in use.
const (
	OpcodeQuery  Opcode = 0
	OpcodeNotify Opcode = 4
	OpcodeUpdate Opcode = 5
)

// String gives the mnemonic, such as "QUERY".
func (o Opcode) String() string {
	if s, ok := dns.OpcodeToString[int(o)]; ok {
		return s
	}
	return "OPCODE" + strconv.Itoa(int(o))
}

// An Rcode is a server's verdict: four bits of the header, and eight more from
// EDNS(0) [RFC 6891 section 6.1.3].
//
// [RFC 6891 section 6.1.3]: https://www.rfc-editor.org/rfc/rfc6891#section-6.1.3
type Rcode uint16

// The response codes that resolvers and servers use.
const (
	RcodeNoError  Rcode = 0
	RcodeFormErr  Rcode = 1 // the server could not read the question
	RcodeServFail Rcode = 2
	RcodeNXDomain Rcode = 3 // the name does not exist
	RcodeNotImp   Rcode = 4
	RcodeRefused  Rcode = 5
	RcodeYXDomain Rcode = 6 // a DNAME made the name too long
	RcodeNotAuth  Rcode = 9
	RcodeBadVers  Rcode = 16
)

// String gives the mnemonic, such as "NXDOMAIN".
func (r Rcode) String() string {
	if r == RcodeBadVers {
		return "BADVERS" // 16 is BADSIG too, in a TSIG record
	}
	if s, ok := dns.RcodeToString[int(r)]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(int(r))
}

// A Header is the 12 octets at the beginning of a message but for the four
// counts, which are the lengths of the sections.
type Header struct {
	ID                 uint16 // the response has that of the query
	Response           bool   // QR
	Opcode             Opcode // what is asked for, 0 for a question
	Authoritative      bool   // AA: the server has the zone
	Truncated          bool   // TC: ask again over TCP
	RecursionDesired   bool   // RD: please ask others if you must
	RecursionAvailable bool   // RA: I would
	AuthenticData      bool   // AD: checked with DNSSEC
	CheckingDisabled   bool   // CD: do not check
	Rcode              Rcode  // of a response, with the bits from EDNS
}

// A Question is an entry of the first section.
type Question struct {
	Name  string // absolute, the case as it was
	Type  Type   // of the records asked for
	Class uint16 // 1 is IN, the Internet; 0 is taken for it when packing
}

// EDNS is what the OPT record among the additional ones says [RFC 6891].
//
// [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891
type EDNS struct {
	UDPSize  uint16       // the largest datagram that the sender of the message takes
	Version  uint8        // 0
	DNSSECOK bool         // DO: send signatures too
	Options  []EDNSOption // in the order in which they came
}

// An EDNSOption is one option of an [EDNS]; what Data means depends on Code.
type EDNSOption struct {
	Code uint16
	Data []byte
}

// A Message is a query or a response. Records of another class than IN are
// left out when one is read.
type Message struct {
	Header
	Questions  []Question // one, in practice
	Answer     []Record   // what was asked for, with the aliases on the way
	Authority  []Record   // the NS records of a referral, the SOA of a negative answer
	Additional []Record   // what may be of use, such as addresses; without the OPT record
	EDNS       *EDNS      // nil when there is none
}

// NewQuery returns a query that a resolver would understand: with a question,
// recursion desired and EDNS(0). [Client.Exchange] chooses the ID.
func NewQuery(name string, typ Type) *Message {
	return &Message{
		Header:    Header{RecursionDesired: true},
		Questions: []Question{{Name: name, Type: typ, Class: dns.ClassINET}},
		EDNS:      &EDNS{UDPSize: defaultUDPSize},
	}
}

// maxMessage is what the two octets of length over TCP allow.
const maxMessage = 1<<16 - 1

var errTooLong = errors.New("dnsx: a message of more than 65535 octets")

// Pack returns the message as it is on the wire, names compressed.
func (m *Message) Pack() ([]byte, error) {
	msg := dns.Msg{Compress: true, MsgHdr: dns.MsgHdr{
		Id:                 m.ID,
		Response:           m.Response,
		Opcode:             int(m.Opcode),
		Authoritative:      m.Authoritative,
		Truncated:          m.Truncated,
		RecursionDesired:   m.RecursionDesired,
		RecursionAvailable: m.RecursionAvailable,
		AuthenticatedData:  m.AuthenticData,
		CheckingDisabled:   m.CheckingDisabled,
		Rcode:              int(m.Rcode),
	}}
	for _, q := range m.Questions {
		name, err := ParseName(q.Name)
		if err != nil {
			return nil, err
		}
		class := q.Class
		if class == 0 {
			class = dns.ClassINET
		}
		msg.Question = append(msg.Question, dns.Question{Name: name, Qtype: uint16(q.Type), Qclass: class})
	}
	for _, section := range []struct {
		to   *[]dns.RR
		from []Record
	}{{&msg.Answer, m.Answer}, {&msg.Ns, m.Authority}, {&msg.Extra, m.Additional}} {
		for _, r := range section.from {
			rr, err := toRR(r)
			if err != nil {
				return nil, err
			}
			*section.to = append(*section.to, rr)
		}
	}
	if m.EDNS != nil {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		opt.SetUDPSize(m.EDNS.UDPSize)
		opt.SetVersion(m.EDNS.Version)
		opt.SetDo(m.EDNS.DNSSECOK)
		for _, o := range m.EDNS.Options {
			opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: o.Code, Data: o.Data})
		}
		msg.Extra = append(msg.Extra, opt)
	}
	wire, err := msg.Pack()
	if err != nil {
		return nil, fmt.Errorf("dnsx: packing a message: %w", err)
	}
	if len(wire) > maxMessage {
		return nil, errTooLong
	}
	return wire, nil
}

// ParseMessage reads a message from the wire. Whatever the octets are, it
// takes memory in proportion to them and comes to an end.
func ParseMessage(wire []byte) (*Message, error) {
	msg, err := unpack(wire)
	if err != nil {
		return nil, err
	}
	m := &Message{
		Header: Header{
			ID:                 msg.Id,
			Response:           msg.Response,
			Opcode:             Opcode(msg.Opcode),
			Authoritative:      msg.Authoritative,
			Truncated:          msg.Truncated,
			RecursionDesired:   msg.RecursionDesired,
			RecursionAvailable: msg.RecursionAvailable,
			AuthenticData:      msg.AuthenticatedData,
			CheckingDisabled:   msg.CheckingDisabled,
			Rcode:              Rcode(msg.Rcode),
		},
		Answer:    fromRRs(msg.Answer),
		Authority: fromRRs(msg.Ns),
	}
	for _, q := range msg.Question {
		m.Questions = append(m.Questions, Question{Name: q.Name, Type: Type(q.Qtype), Class: q.Qclass})
	}
	m.Additional = fromRRs(msg.Extra)
	if opt := msg.IsEdns0(); opt != nil {
		m.EDNS = &EDNS{UDPSize: opt.UDPSize(), Version: opt.Version(), DNSSECOK: opt.Do()}
		for _, o := range opt.Option {
			m.EDNS.Options = append(m.EDNS.Options, EDNSOption{Code: o.Option(), Data: optionData(o)})
		}
	}
	return m, nil
}

// unpack reads a message; every error has our prefix.
func unpack(wire []byte) (*dns.Msg, error) {
	if len(wire) > maxMessage {
		return nil, errTooLong
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(wire); err != nil {
		return nil, fmt.Errorf("dnsx: a message of %d octets: %w", len(wire), err)
	}
	// Records that were announced and are not there must not pass for none.
	for i, got := range [4]int{len(msg.Question), len(msg.Answer), len(msg.Ns), len(msg.Extra)} {
		if want := int(binary.BigEndian.Uint16(wire[4+2*i:])); got != want && !msg.Truncated {
			return nil, fmt.Errorf("dnsx: a message of %d octets: %d records in section %d instead of %d", len(wire), got, i, want)
		}
	}
	for _, section := range [][]dns.RR{msg.Answer, msg.Ns, msg.Extra} {
		for _, rr := range section {
			if rr.Header().Rdlength == 0 && !mayBeEmpty(rr) {
				return nil, fmt.Errorf("dnsx: a message of %d octets: a record of type %v without data", len(wire), Type(rr.Header().Rrtype))
			}
		}
	}
	return msg, nil
}

// mayBeEmpty reports whether a record may be without data. miekg/dns gives such
// records of any type, since dynamic update uses them.
func mayBeEmpty(rr dns.RR) bool {
	switch rr.(type) {
	case *dns.OPT, *dns.APL, *dns.NULL, *dns.RFC3597:
		return true
	}
	return rr.Header().Class != dns.ClassINET
}

// optionData returns the octets of an option, which miekg/dns has parsed.
func optionData(o dns.EDNS0) []byte {
	if local, ok := o.(*dns.EDNS0_LOCAL); ok {
		return local.Data
	}
	// Packed alone in an OPT record: root name, type, class, TTL, length (11
	// octets), then code and length of the option (4), then its data.
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{o}}
	wire := make([]byte, dns.Len(opt)+64)
	n, err := dns.PackRR(opt, wire, 0, nil, false)
	if err != nil || n < 15 {
		return nil
	}
	return wire[15:n]
}

// toRR gives a record the form that miekg/dns packs. The common types take a
// short way: reading a line of a zone file takes ten times as long.
func toRR(r Record) (dns.RR, error) {
	name, err := ParseName(r.Name)
	if err != nil {
		return nil, err
	}
	header := dns.RR_Header{Name: name, Rrtype: uint16(r.Type), Class: dns.ClassINET, Ttl: seconds(r.TTL)}
	switch r.Type {
	case A, AAAA:
		addr, err := netip.ParseAddr(r.Data)
		if err == nil && r.Type == A && addr.Is4() {
			return &dns.A{Hdr: header, A: addr.AsSlice()}, nil
		}
		if err == nil && r.Type == AAAA && addr.Is6() && addr.Zone() == "" {
			return &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()}, nil
		}
		return nil, fmt.Errorf("dnsx: record %s: %q is not an address of this type", r.Name, r.Data)
	case CNAME, NS, PTR:
		if plainName(r.Data) {
			switch r.Type {
			case CNAME:
				return &dns.CNAME{Hdr: header, Target: r.Data}, nil
			case NS:
				return &dns.NS{Hdr: header, Ns: r.Data}, nil
			default:
				return &dns.PTR{Hdr: header, Ptr: r.Data}, nil
			}
		}
	}
	if r.Data == "" || r.Type == ANY || r.Type == AXFR || r.Type == Type(dns.TypeOPT) {
		return nil, fmt.Errorf("dnsx: record %s %s has no data that could be packed", r.Name, r.Type)
	}
	// The name is not part of the line: it could be taken for a directive.
	rr, err := dns.NewRR(". 0 IN " + r.Type.String() + " " + r.Data)
	if err != nil {
		return nil, fmt.Errorf("dnsx: record %s %s: %w", r.Name, r.Type, err)
	}
	if rr == nil || rr.Header().Rrtype != uint16(r.Type) {
		return nil, fmt.Errorf("dnsx: record %s %s: data %q", r.Name, r.Type, r.Data)
	}
	*rr.Header() = header
	return rr, nil
}

// fromRR is the inverse of toRR.
func fromRR(rr dns.RR) Record {
	h := rr.Header()
	r := Record{Name: h.Name, Type: Type(h.Rrtype), TTL: duration(h.Ttl)}
	switch rr := rr.(type) {
	case *dns.A:
		if addr, ok := netip.AddrFromSlice(rr.A); ok {
			r.Data = addr.Unmap().String()
			return r
		}
	case *dns.AAAA:
		if addr, ok := netip.AddrFromSlice(rr.AAAA); ok {
			r.Data = addr.String() // an IPv4-mapped one stays one
			return r
		}
	case *dns.CNAME:
		r.Data = rr.Target
		return r
	case *dns.NS:
		r.Data = rr.Ns
		return r
	case *dns.PTR:
		r.Data = rr.Ptr
		return r
	case *dns.RFC3597:
		r.Data = fmt.Sprintf(`\# %d %s`, hex.DecodedLen(len(rr.Rdata)), rr.Rdata)
		return r
	}
	r.Data = strings.TrimPrefix(rr.String(), h.String())
	return r
}

// fromRRs converts the records of class IN of a section.
func fromRRs(rrs []dns.RR) []Record {
	if len(rrs) == 0 {
		return nil
	}
	records := make([]Record, 0, len(rrs))
	for _, rr := range rrs {
		if rr.Header().Class == dns.ClassINET && rr.Header().Rrtype != dns.TypeOPT {
			records = append(records, fromRR(rr))
		}
	}
	return records
}

// duration reads a TTL: with the highest bit set it counts as zero [RFC 2181
// section 8].
//
// [RFC 2181 section 8]: https://www.rfc-editor.org/rfc/rfc2181#section-8
func duration(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// seconds is the inverse of duration, with what does not fit cut off.
func seconds(ttl time.Duration) uint32 {
	return uint32(max(0, min(ttl/time.Second, 1<<31-1)))
}
