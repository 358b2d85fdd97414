package dnsx

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Bounds of a zone file, far above what one process should serve.
const (
	maxZoneFile    = 256 << 20 // octets
	maxZoneRecords = 5_000_000
)

// A ZoneError says which line of a zone file is wrong and why. Line is 0 when
// the fault is of the zone as a whole.
type ZoneError struct {
	File   string // as it was called when it was read
	Line   int    // the last line of the record, when it has several
	Reason string // what is wrong
}

// Error gives "dnsx: FILE:LINE: reason", as compilers do.
func (e *ZoneError) Error() string {
	file := cmp.Or(e.File, "zone")
	if e.Line == 0 {
		return fmt.Sprintf("dnsx: %s: %s", file, e.Reason)
	}
	return fmt.Sprintf("dnsx: %s:%d: %s", file, e.Line, e.Reason)
}

// A Zone holds the records of one zone and answers from them ([Server]). It
// never changes, so that it may be used by any number of goroutines.
type Zone struct {
	origin   string           // lower case, absolute
	wire     string           // the same in wire form
	nodes    map[string]*node // by name in wire form and lower case, empty non-terminals too
	apex     *node
	negative dns.RR // the SOA record as negative answers carry it
	soa      []byte // the same on the wire, without its name
	serial   uint32
	warnings []string
}

// A node is a name of the zone. One without records stands for the names below
// it: an empty non-terminal.
type node struct {
	name     string   // as the zone file writes it
	sets     []*rrset // in the order of the zone file
	cut      bool     // a delegation starts here: NS records, and not the apex
	occluded bool     // below a cut or a DNAME: not ours to answer for

	// Answers that are ready, besides those of the sets.
	nodata, aliasA, aliasAAAA atomic.Pointer[template]
}

// An rrset is the records of one name and type, which are only ever answered
// together [RFC 2181 section 5].
//
// [RFC 2181 section 5]: https://www.rfc-editor.org/rfc/rfc2181#section-5
type rrset struct {
	typ    uint16
	rrs    []dns.RR
	answer atomic.Pointer[template]
}

func (n *node) set(typ uint16) *rrset {
	for _, set := range n.sets {
		if set.typ == typ {
			return set
		}
	}
	return nil
}

// ParseZone reads a zone file [RFC 1035 section 5]. origin completes relative
// names until the file has an $ORIGIN line; when it is empty, a file whose names
// are relative has to begin with one. file is for error messages, each of which is
// a [*ZoneError]. $INCLUDE is refused: a zone that comes from somebody else must not read
// our files.
//
// The zone must be one that can be served: one SOA record and NS records at its
// top, no record outside, nothing beside a CNAME. Milder faults are
// [Zone.Warnings].
//
// [RFC 1035 section 5]: https://www.rfc-editor.org/rfc/rfc1035#section-5
func ParseZone(r io.Reader, origin, file string) (*Zone, error) {
	if origin != "" {
		name, err := foldName(origin)
		if err != nil {
			return nil, &ZoneError{file, 0, err.Error()}
		}
		origin = name
	}
	b := &zoneBuilder{file: file, zone: &Zone{nodes: map[string]*node{}}, seen: map[string]struct{}{}}
	in := &lineCounter{r: bufio.NewReader(io.LimitReader(r, maxZoneFile+1))}
	parser := dns.NewZoneParser(in, origin, "")
	parser.SetDefaultTTL(defaultZoneTTL)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if err := b.add(rr, in.lines); err != nil {
			return nil, err
		}
	}
	if in.bytes > maxZoneFile {
		return nil, &ZoneError{file, in.lines, fmt.Sprintf("the file has more than %d octets", maxZoneFile)}
	}
	if err := parser.Err(); err != nil {
		return nil, b.parseError(err, origin)
	}
	return b.finish()
}

// defaultZoneTTL is for files that state no TTL at all.
const defaultZoneTTL = 3600

// parseError puts an error of the parser into our form: it ends in
// "at line: 3:12".
func (b *zoneBuilder) parseError(err error, origin string) error {
	if _, ok := errors.AsType[*dns.ParseError](err); !ok {
		return fmt.Errorf("dnsx: %s: %w", cmp.Or(b.file, "zone"), err) // the reader's
	}
	text := strings.TrimPrefix(err.Error(), "dns: ")
	e := &ZoneError{File: b.file, Reason: text}
	if reason, at, ok := cutLast(text, " at line: "); ok {
		e.Reason = reason
		fmt.Sscanf(at, "%d:", &e.Line)
	}
	if origin == "" && b.zone.apex == nil && strings.HasPrefix(e.Reason, "bad ") {
		e.Reason += " (if names are relative, begin the file with $ORIGIN)"
	}
	return e
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// A lineCounter counts the lines that the parser, who reads octet by octet, has
// seen: the parser itself tells the line only of what it finds wrong.
type lineCounter struct {
	r     *bufio.Reader
	lines int
	bytes int64
}

func (c *lineCounter) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *lineCounter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return 0, err
	}
	c.bytes++
	if b == '\n' {
		c.lines++
	}
	return b, nil
}

// A zoneBuilder collects the records of a zone.
type zoneBuilder struct {
	file    string
	zone    *Zone
	seen    map[string]struct{} // each record once, however often it is written
	early   []lineRecord        // records before the SOA
	records int
}

type lineRecord struct {
	rr   dns.RR
	line int
}

// add takes one record. Records may come before the SOA, which says what the
// zone is called.
func (b *zoneBuilder) add(rr dns.RR, line int) error {
	h := rr.Header()
	refuse := func(format string, args ...any) error {
		return &ZoneError{b.file, line, fmt.Sprintf("%s %s: ", h.Name, Type(h.Rrtype)) + fmt.Sprintf(format, args...)}
	}
	if b.records++; b.records > maxZoneRecords {
		return refuse("more than %d records", maxZoneRecords)
	}
	if h.Class != dns.ClassINET {
		return refuse("class %s, want IN", dns.Class(h.Class))
	}
	if h.Rrtype == dns.TypeOPT || h.Rrtype == dns.TypeTSIG || h.Rrtype == dns.TypeTKEY || h.Rrtype >= dns.TypeIXFR && h.Rrtype <= dns.TypeANY {
		return refuse("this type is for messages, not for zones")
	}
	// Packing finds what the parser lets through: names and texts that are too long.
	wire := make([]byte, dns.Len(rr)+16)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return refuse("%v", err)
	}
	owner := wireName(h.Name)
	// The parser takes a line that ends after the type, for updates have such; all is zero then.
	if !slices.ContainsFunc(wire[len(owner)+10:end], func(b byte) bool { return b != 0 }) {
		if _, err := toRR(fromRR(rr)); err != nil {
			return refuse("no data")
		}
	}
	if h.Ttl > 1<<31-1 {
		return refuse("TTL %d is over 2147483647", h.Ttl)
	}

	z := b.zone
	if soa, ok := rr.(*dns.SOA); ok {
		name, err := foldName(h.Name)
		if err != nil {
			return refuse("%v", err)
		}
		if z.apex != nil {
			if name != z.origin {
				return refuse("the zone is %s: its SOA record stands there", z.origin)
			}
			if z.apex.set(dns.TypeSOA) != nil && !dns.IsDuplicate(z.apex.set(dns.TypeSOA).rrs[0], rr) {
				return refuse("a second SOA record")
			}
			return nil
		}
		z.origin, z.wire = name, wireName(name)
		z.serial = soa.Serial
		z.apex = &node{name: h.Name}
		z.nodes[z.wire] = z.apex
		// Negative answers live as long as the smaller of the two [RFC 2308 section 5].
		negative := dns.Copy(soa).(*dns.SOA)
		negative.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		z.negative = negative
		packed := make([]byte, dns.Len(negative)+16)
		end, err := dns.PackRR(negative, packed, 0, nil, false)
		if err != nil {
			return refuse("%v", err)
		}
		z.soa = packed[len(z.wire):end]
		early := b.early
		b.early = nil
		for _, e := range early {
			if err := b.add(e.rr, e.line); err != nil {
				return err
			}
		}
	}
	if z.apex == nil {
		b.early = append(b.early, lineRecord{rr, line})
		return nil
	}
	if !withinWire(owner, z.wire) {
		return refuse("outside of the zone %s", z.origin)
	}
	// The record without its TTL, in lower case, tells a repeat.
	copy(wire, owner)
	copy(wire[len(owner)+4:], "\x00\x00\x00\x00")
	key := string(wire[:end])
	if _, again := b.seen[key]; again {
		return nil
	}
	b.seen[key] = struct{}{}

	n := b.node(owner, h.Name)
	cname := n.set(dns.TypeCNAME)
	switch {
	case h.Rrtype == dns.TypeCNAME && cname != nil:
		return refuse("a second CNAME record")
	case h.Rrtype == dns.TypeCNAME && hasOther(n):
		return refuse("a CNAME beside other records")
	case cname != nil && h.Rrtype != dns.TypeCNAME && !besideAlias(h.Rrtype):
		return refuse("beside a CNAME record")
	case h.Rrtype == dns.TypeDNAME && n.set(dns.TypeDNAME) != nil:
		return refuse("a second DNAME record")
	}
	set := n.set(h.Rrtype)
	if set == nil {
		set = &rrset{typ: h.Rrtype}
		n.sets = append(n.sets, set)
	} else if first := set.rrs[0].Header().Ttl; first != h.Ttl {
		// All records of a set have one TTL [RFC 2181 section 5.2].
		b.warn(line, "%s %s: TTL %d differs from %d before it, which counts", h.Name, Type(h.Rrtype), h.Ttl, first)
		h.Ttl = first
	}
	set.rrs = append(set.rrs, rr)
	return nil
}

// besideAlias reports whether a type may stand beside a CNAME: what signs it
// (RFC 4035 section 2.5).
func besideAlias(typ uint16) bool {
	return typ == dns.TypeRRSIG || typ == dns.TypeNSEC
}

func hasOther(n *node) bool {
	return slices.ContainsFunc(n.sets, func(s *rrset) bool { return !besideAlias(s.typ) })
}

// node returns the node with a name, made with those between it and the apex.
func (b *zoneBuilder) node(wire, name string) *node {
	n := b.zone.nodes[wire]
	switch {
	case n == nil:
		n = &node{name: name}
		b.zone.nodes[wire] = n
		b.node(parentWire(wire), ParentName(name))
	case len(n.sets) == 0:
		n.name = name
	}
	return n
}

func (b *zoneBuilder) warn(line int, format string, args ...any) {
	if len(b.zone.warnings) < maxWarnings {
		e := &ZoneError{b.file, line, fmt.Sprintf(format, args...)}
		b.zone.warnings = append(b.zone.warnings, strings.TrimPrefix(e.Error(), "dnsx: "))
	}
}

const maxWarnings = 100

// finish looks at the zone as a whole.
func (b *zoneBuilder) finish() (*Zone, error) {
	z := b.zone
	switch {
	case z.apex == nil && b.records == 0:
		return nil, &ZoneError{b.file, 0, "no records"}
	case z.apex == nil:
		return nil, &ZoneError{b.file, 0, "no SOA record"}
	case z.apex.set(dns.TypeNS) == nil:
		return nil, &ZoneError{b.file, 0, z.origin + " has no NS record: nobody could find its servers"}
	}
	for wire, n := range z.nodes {
		n.cut = n != z.apex && n.set(dns.TypeNS) != nil
		for up := wire; up != z.wire; {
			up = parentWire(up)
			above := z.nodes[up]
			dname := above.set(dns.TypeDNAME) != nil
			if dname || above != z.apex && above.set(dns.TypeNS) != nil {
				n.occluded = true
			}
			// Below a DNAME there is nothing [RFC 6672 section 2.4].
			if dname && len(n.sets) > 0 {
				return nil, &ZoneError{b.file, 0, fmt.Sprintf("%s stands below the DNAME record of %s", n.name, above.name)}
			}
		}
	}
	b.checkServers()
	return z, nil
}

// checkServers warns of name servers and mail hosts in the zone that have no address.
func (b *zoneBuilder) checkServers() {
	z := b.zone
	for _, wire := range slices.SortedFunc(maps.Keys(z.nodes), compareWire) {
		n := z.nodes[wire]
		for _, set := range n.sets {
			if n.occluded {
				break
			}
			for _, rr := range set.rrs {
				target := targetOf(rr)
				if target == "" || target == "." {
					continue
				}
				switch t, in := z.find(wireName(target)); {
				case !in:
				case t != nil && (t.set(dns.TypeA) != nil || t.set(dns.TypeAAAA) != nil):
				case t != nil && t.set(dns.TypeCNAME) != nil:
					b.warn(0, "%s %s: %s is an alias, which is not allowed there", n.name, Type(set.typ), target)
				case t != nil && t.occluded && (set.typ != dns.TypeNS || !withinWire(wireName(target), wire)):
					// Another server knows the address.
				case n.cut:
					b.warn(0, "%s NS: no glue, that is, no address for %s: the delegation leads nowhere", n.name, target)
				default:
					b.warn(0, "%s %s: %s has no address", n.name, Type(set.typ), target)
				}
			}
		}
	}
}

// find returns the node of a name, or of the wildcard that stands for it, or of
// the cut above it, and whether the name belongs to the zone at all.
func (z *Zone) find(wire string) (n *node, in bool) {
	if !withinWire(wire, z.wire) {
		return nil, false
	}
	if n := z.nodes[wire]; n != nil {
		return n, true
	}
	for up := wire; ; {
		up = parentWire(up)
		if n := z.nodes[up]; n != nil {
			if n.cut || n.occluded {
				return &node{occluded: true}, true
			}
			return z.nodes[wildcard(up)], true
		}
	}
}

// Origin returns the zone's name, absolute and in lower case.
func (z *Zone) Origin() string { return z.origin }

// Serial returns the serial number of the zone's SOA record.
func (z *Zone) Serial() uint32 { return z.serial }

// Warnings returns what is wrong with the zone without making it unfit to be
// served: delegations without glue, mail hosts without address, differing TTLs in one set.
func (z *Zone) Warnings() []string { return slices.Clone(z.warnings) }

// Records gives all records, the SOA record first, then in canonical order of
// the names [RFC 4034 section 6.1].
//
// [RFC 4034 section 6.1]: https://www.rfc-editor.org/rfc/rfc4034#section-6.1
func (z *Zone) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for rr := range z.rrs() {
			if !yield(fromRR(rr)) {
				return
			}
		}
	}
}

// rrs gives all records in the order of Records.
func (z *Zone) rrs() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		names := slices.SortedFunc(maps.Keys(z.nodes), compareWire)
		if !yield(z.apex.set(dns.TypeSOA).rrs[0]) {
			return
		}
		for _, name := range names {
			for _, set := range z.nodes[name].sets {
				for _, rr := range set.rrs {
					if set.typ != dns.TypeSOA && !yield(rr) {
						return
					}
				}
			}
		}
	}
}

// targetOf returns the name to whose addresses a record leads, or "".
func targetOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.NS:
		return rr.Ns
	case *dns.MX:
		return rr.Mx
	case *dns.SRV:
		return rr.Target
	}
	return ""
}
