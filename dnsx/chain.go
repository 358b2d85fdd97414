package dnsx

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// A chain is what answer sections say about one name: aliases, one leading to
// the next, and the records at their end.
type chain struct {
	records []Record // aliases first, in order
	end     string   // the name where the aliases lead, in lower case
	found   bool     // records of the type are there
	past    []string // the names that have an alias
}

// extend follows the records of an answer section from the chain's end. Only
// what is said about names in zone counts: about others the server may say what
// it likes, it is not asked.
func (c *chain) extend(rrs []dns.RR, typ Type, zone string) error {
	for InZone(c.end, zone) {
		c.take(rrs, typ)
		if c.found {
			return nil
		}
		target, err := c.alias(rrs, zone)
		if err != nil || target == "" {
			return err
		}
		if err := c.follow(target); err != nil {
			return err
		}
	}
	return nil
}

// take takes the records of the type at the chain's end, without copies, and
// with one TTL for all, the smallest [RFC 2181 section 5.2].
//
// [RFC 2181 section 5.2]: https://www.rfc-editor.org/rfc/rfc2181#section-5.2
func (c *chain) take(rrs []dns.RR, typ Type) {
	first := len(c.records)
	had := make(map[Record]bool)
	for _, rr := range rrs {
		if !isAt(rr, c.end) || (Type(rr.Header().Rrtype) != typ && typ != ANY) {
			continue
		}
		c.found = true
		r := fromRR(rr)
		if key := (Record{Type: r.Type, Data: r.Data}); !had[key] {
			had[key] = true
			c.records = append(c.records, r)
		}
	}
	set := c.records[first:]
	if len(set) < 2 || typ == ANY { // ANY gives several sets
		return
	}
	least := slices.MinFunc(set, func(a, b Record) int { return cmp.Compare(a.TTL, b.TTL) }).TTL
	for i := range set {
		set[i].TTL = least
	}
}

// alias takes the alias of the chain's end, if there is one, and returns where
// it leads. What a server makes of a DNAME for this one name is not taken on
// trust: the CNAME record is made here [RFC 6672 section 3.1].
//
// [RFC 6672 section 3.1]: https://www.rfc-editor.org/rfc/rfc6672#section-3.1
func (c *chain) alias(rrs []dns.RR, zone string) (target string, err error) {
	var cname *dns.CNAME
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.DNAME:
			owner := rr.Hdr.Name
			if rr.Hdr.Class != dns.ClassINET || EqualNames(owner, c.end) || !InZone(c.end, owner) || !InZone(owner, zone) {
				continue
			}
			prefix := c.end[:len(c.end)-len(owner)]
			if owner == "." {
				prefix = c.end
			}
			if rr.Target != "." {
				prefix += rr.Target
			}
			if target, err = foldName(prefix); err != nil {
				return "", temporary(fmt.Errorf("the DNAME of %s makes a name that is too long", owner))
			}
			c.records = append(c.records, fromRR(rr),
				Record{Name: c.end, Type: CNAME, TTL: duration(rr.Hdr.Ttl), Data: target})
			return target, nil
		case *dns.CNAME:
			if cname == nil && isAt(rr, c.end) {
				cname = rr
			}
		}
	}
	if cname == nil {
		return "", nil
	}
	c.records = append(c.records, fromRR(cname))
	target, err = foldName(cname.Target)
	if err != nil {
		return "", temporary(err)
	}
	return target, nil
}

// follow goes on at the target of an alias.
func (c *chain) follow(target string) error {
	c.past = append(c.past, c.end)
	c.end = target
	if slices.Contains(c.past, target) {
		return temporary(fmt.Errorf("%w at %s", ErrLoop, target))
	}
	if len(c.past) > maxAliases {
		return temporary(fmt.Errorf("%w: more than %d aliases", ErrLimit, maxAliases))
	}
	return nil
}

// isAt reports whether a record belongs to an absolute name.
func isAt(rr dns.RR, name string) bool {
	return rr.Header().Class == dns.ClassINET && EqualNames(rr.Header().Name, name)
}

// soaOf returns the SOA record of an authority section that speaks for name, by
// a server that was asked for zone. Its TTL is that of the negative answer
// [RFC 2308 section 5].
//
// [RFC 2308 section 5]: https://www.rfc-editor.org/rfc/rfc2308#section-5
func soaOf(authority []dns.RR, name, zone string) *Record {
	for _, rr := range authority {
		soa, ok := rr.(*dns.SOA)
		if ok && soa.Hdr.Class == dns.ClassINET && InZone(name, soa.Hdr.Name) && InZone(soa.Hdr.Name, zone) {
			r := fromRR(soa)
			r.TTL = min(r.TTL, duration(soa.Minttl))
			return &r
		}
	}
	return nil
}
