package dnsx

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/miekg/dns"
)

// A reply is what a zone answers, before it is packed.
type reply struct {
	rcode         int
	authoritative bool
	referral      bool
	answer        []dns.RR
	authority     []dns.RR
	additional    []dns.RR
	rotate        int    // so many records at the end of answer are one set and may come in any order
	outside       string // where the answer ends: an alias to a name that is in no zone of ours
}

// maxAliases bounds the alias chain that one answer follows.
const maxAliases = 16

// lookup answers from a zone as [RFC 1034 section 4.3.2] says, with the
// wildcards of RFC 4592 and the DNAMEs of RFC 6672. It follows aliases into
// other zones of the table. qname is in wire form and lower case.
//
// [RFC 1034 section 4.3.2]: https://www.rfc-editor.org/rfc/rfc1034#section-4.3.2
func (t *zoneTable) lookup(z *Zone, qname string, qtype uint16) *reply {
	r := &reply{authoritative: true}
	owner := textName([]byte(qname))
	seen := []string{qname}
	for {
		target := z.lookup(qname, owner, qtype, r)
		if target == "" {
			return r
		}
		qname, owner = wireName(target), target
		if qname == "" {
			return r
		}
		z = t.zone([]byte(qname), qtype)
		if z == nil {
			r.outside = target
		}
		// What is known so far is answered: a resolver sees a loop for itself, and
		// goes on with a long chain or in a zone that is not here.
		if z == nil || slices.Contains(seen, qname) || len(seen) == maxAliases {
			return r
		}
		seen = append(seen, qname)
	}
}

// lookup adds to r what the zone has and returns the target, if that is an
// alias. owner is qname as text, to be the name of what a wildcard gives.
func (z *Zone) lookup(qname, owner string, qtype uint16, r *reply) (target string) {
	// The suffixes of qname below the apex, the longest first.
	var below [maxName / 2]string
	depth := 0
	for s := qname; len(s) > len(z.wire); s = parentWire(s) {
		below[depth] = s
		depth++
	}
	// Down from the apex, one label at a time.
	encloser, closest := z.apex, z.wire
	for i := depth - 1; ; i-- {
		if encloser.cut && (qtype != dns.TypeDS || closest != qname) {
			z.refer(encloser, r)
			return ""
		}
		if i < 0 {
			return z.atNode(encloser, owner, qtype, r)
		}
		if d := encloser.set(dns.TypeDNAME); d != nil {
			return z.substitute(d.rrs[0].(*dns.DNAME), qname, closest, owner, qtype, r)
		}
		child := z.nodes[below[i]]
		if child == nil {
			break
		}
		encloser, closest = child, below[i]
	}
	if w := z.nodes[wildcard(closest)]; w != nil {
		return z.atNode(w, owner, qtype, r)
	}
	r.rcode = dns.RcodeNameError
	r.authority = append(r.authority, z.negative)
	return ""
}

// atNode answers from the records of a node and returns the name at which the
// search goes on, if it is an alias.
func (z *Zone) atNode(n *node, owner string, qtype uint16, r *reply) (target string) {
	if qtype == dns.TypeANY && len(n.sets) > 0 {
		// One set, not all: a small answer to a small query [RFC 8482 section 4.1].
		set := n.sets[0]
		if n == z.apex {
			set = n.set(dns.TypeSOA)
		}
		r.answer = append(r.answer, withOwner(set.rrs, owner)...)
		return ""
	}
	set := n.set(qtype)
	if set == nil {
		if alias := n.set(dns.TypeCNAME); alias != nil {
			r.answer = append(r.answer, withOwner(alias.rrs, owner)...)
			return alias.rrs[0].(*dns.CNAME).Target
		}
		r.authority = append(r.authority, z.negative)
		return ""
	}
	r.answer = append(r.answer, withOwner(set.rrs, owner)...)
	r.rotate = len(set.rrs)
	r.additional = z.addresses(set.rrs, r.additional, false)
	return ""
}

// refer sends the asker to the servers of a delegated zone, with their addresses.
func (z *Zone) refer(cut *node, r *reply) {
	r.referral = true
	r.authoritative = len(r.answer) > 0 // of the alias that led here we are sure
	set := cut.set(dns.TypeNS)
	r.authority = append(r.authority, set.rrs...)
	r.additional = z.addresses(set.rrs, r.additional, true)
}

// addresses adds the addresses that the zone has for the targets of records.
// Those below a cut are glue, and only for referrals.
func (z *Zone) addresses(rrs []dns.RR, to []dns.RR, glue bool) []dns.RR {
	for _, rr := range rrs {
		target := targetOf(rr)
		if target == "" {
			continue
		}
		n := z.nodes[wireName(target)]
		if n == nil || (n.occluded || n.cut) && !glue {
			continue
		}
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if set := n.set(typ); set != nil && !slices.Contains(to, set.rrs[0]) {
				to = append(to, set.rrs...)
			}
		}
	}
	return to
}

// substitute answers with a DNAME and the CNAME that follows from it (RFC 6672
// section 3.1), and returns its target.
func (z *Zone) substitute(d *dns.DNAME, qname, owner, text string, qtype uint16, r *reply) (target string) {
	if slices.Contains(r.answer, dns.RR(d)) {
		return "" // it leads to itself: each round would make the name longer
	}
	r.answer = append(r.answer, d)
	suffix := wireName(d.Target)
	if len(qname)-len(owner)+len(suffix) > maxName {
		r.rcode = dns.RcodeYXDomain
		return ""
	}
	target = textName([]byte(qname[:len(qname)-len(owner)] + suffix))
	r.answer = append(r.answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: text, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: d.Hdr.Ttl},
		Target: target,
	})
	if qtype == dns.TypeCNAME {
		return "" // that was the answer
	}
	return target
}

// withOwner returns records under another name, which makes a wildcard's
// records those of the name asked for.
func withOwner(rrs []dns.RR, owner string) []dns.RR {
	if dns.CanonicalName(rrs[0].Header().Name) == dns.CanonicalName(owner) {
		return rrs
	}
	list := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		list[i] = dns.Copy(rr)
		list[i].Header().Name = owner
	}
	return list
}

// A template is an answer made once for all who ask the same question: all
// but the id, the flags taken over from the query, the spelling of the name, and OPT.
// Several of equal worth take turns, so that the load of a name with several
// addresses is spread.
type template struct {
	turns []packed
	next  atomic.Uint32
	zones *zoneTable // those for which it holds, if it follows an alias; nil means all

	outside bool // it ends with an alias that leads out of our zones
}

// A packed answer begins with the header and the question.
type packed struct {
	wire      []byte
	essential bool // no additional record could be left out
}

// maxTurns bounds the rotations of one set.
const maxTurns = 8

// turn returns the next rotation.
func (t *template) turn() packed {
	if len(t.turns) == 1 {
		return t.turns[0]
	}
	return t.turns[int(t.next.Add(1)-1)%len(t.turns)]
}

// slot returns where the template of a question is kept: only names that the
// zone has get one, so that strangers cannot fill the memory.
func (z *Zone) slot(name []byte, qtype uint16) *atomic.Pointer[template] {
	n := z.nodes[string(name)]
	if n == nil || n.occluded || n.cut || qtype == dns.TypeANY {
		return nil
	}
	if set := n.set(qtype); set != nil {
		return &set.answer
	}
	if n.set(dns.TypeCNAME) == nil {
		return &n.nodata
	}
	switch qtype {
	case dns.TypeA:
		return &n.aliasA
	case dns.TypeAAAA:
		return &n.aliasAAAA
	}
	return nil
}

// answer finds or makes the answer to a question about a name in a zone of the
// table.
func (t *zoneTable) answer(z *Zone, q *request) (answer *template) {
	slot := z.slot(q.name, q.typ)
	if slot != nil {
		answer = slot.Load()
	}
	if answer == nil || answer.zones != nil && answer.zones != t {
		answer = t.compile(z, q)
		if slot != nil {
			slot.Store(answer)
		}
	}
	return answer
}

// compile makes the template for a question.
func (t *zoneTable) compile(z *Zone, q *request) *template {
	r := t.lookup(z, string(q.name), q.typ)
	made := &template{outside: r.outside != ""}
	if len(r.answer) > 0 && r.answer[0].Header().Rrtype != q.typ {
		made.zones = t
	}
	if r.rcode == dns.RcodeNameError && len(r.answer) == 0 {
		made.turns = []packed{z.nxdomain(q)}
		return made
	}
	for turn := range max(1, min(r.rotate, maxTurns)) {
		made.turns = append(made.turns, r.pack(textName(q.name), q, turn))
	}
	return made
}

// nxdomain is what a reply without such a name would be packed to. It is made by
// hand, since nobody can keep the answers to all names that do not exist: header, question, and
// the SOA record, whose name is the end of the question's.
func (z *Zone) nxdomain(q *request) packed {
	be := binary.BigEndian
	wire := make([]byte, 0, q.end+2+len(z.soa))
	wire = append(wire, 0, 0)
	wire = be.AppendUint16(wire, bitQR|bitAA|dns.RcodeNameError)
	wire = append(wire, 0, 1, 0, 0, 0, 1, 0, 0)
	wire = append(wire, q.wire[headerSize:q.end]...)
	wire = be.AppendUint16(wire, pointer|uint16(headerSize+len(q.name)-len(z.wire)))
	wire = append(wire, z.soa...)
	return packed{wire, true}
}

// pack packs a reply with the last set of its answer rotated.
func (r *reply) pack(owner string, q *request, turn int) packed {
	msg := dns.Msg{
		MsgHdr:   dns.MsgHdr{Response: true, Authoritative: r.authoritative, Rcode: r.rcode},
		Compress: true,
		Question: []dns.Question{{Name: owner, Qtype: q.typ, Qclass: q.class}},
		Ns:       r.authority,
		Extra:    r.additional,
	}
	fixed := len(r.answer) - r.rotate
	set := r.answer[fixed:]
	msg.Answer = append(msg.Answer, r.answer[:fixed]...)
	msg.Answer = append(msg.Answer, set[turn:]...)
	msg.Answer = append(msg.Answer, set[:turn]...)
	wire, err := msg.Pack()
	if err != nil || len(wire) > maxMessage {
		msg = dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: dns.RcodeServerFailure}, Question: msg.Question}
		wire, _ = msg.Pack()
	}
	return packed{wire, r.referral || len(r.additional) == 0}
}

// finish turns the packed answer that dst holds from start on into the answer
// to q: with its id, its flags, its spelling of the name, and an OPT record if it had one.
// What is too large is left out: the additional records without a word unless essential,
// then everything, and TC says so.
func (q *request) finish(dst []byte, start int, essential bool, flags uint16, maxUDP int) []byte {
	be := binary.BigEndian
	wire, limit := dst[start:], q.limit(maxUDP)
	rcode := int(wire[3] & rcodeMask)
	if len(wire) > limit && !essential {
		dst = dst[:start+additionalAt(wire)]
		wire = dst[start:]
		be.PutUint16(wire[10:], 0)
	}
	flags |= be.Uint16(wire[2:])
	if len(wire) > limit {
		flags = flags&^rcodeMask | bitTC
		return q.appendOPT(q.appendHeader(dst[:start], flags, rcode), start, rcode, maxUDP)
	}
	be.PutUint16(wire, q.id)
	be.PutUint16(wire[2:], flags|q.bits&bitRD)
	copy(wire[headerSize:], q.wire[headerSize:q.end])
	return q.appendOPT(dst, start, rcode, maxUDP)
}

// additionalAt finds where the additional section of a message that we packed
// begins.
func additionalAt(wire []byte) int {
	be := binary.BigEndian
	at := headerSize
	skipName := func() {
		for wire[at] != 0 {
			if wire[at] > maxLabel {
				at++
				break
			}
			at += 1 + int(wire[at])
		}
		at++
	}
	skipName()
	at += 4
	for range int(be.Uint16(wire[6:])) + int(be.Uint16(wire[8:])) {
		skipName()
		at += 10 + int(be.Uint16(wire[at+8:]))
	}
	return at
}
