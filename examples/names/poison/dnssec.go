package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// startup is the zone of N7's start-up, a part of it.
const startup = `$ORIGIN zocalo-labs.com.
$TTL 3600
@	IN SOA	ns1 hostmaster 1 7200 3600 1209600 300
@	IN NS	ns1
ns1	IN A	192.0.2.53
www	IN A	192.0.2.1
www	IN A	192.0.2.2
`

const startupName = "www.zocalo-labs.com."

// The types of DNSSEC; package dnsx knows them by number.
const (
	typeRRSIG  = dnsx.Type(dns.TypeRRSIG)
	typeDNSKEY = dnsx.Type(dns.TypeDNSKEY)
)

// A signer has the key of a zone.
type signer struct {
	key     *dns.DNSKEY
	private crypto.Signer
}

// newSigner makes a key: ECDSA on P-256, flags of a zone key that is its own
// entry point.
func newSigner(zone string) (*signer, error) {
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		return nil, err
	}
	return &signer{key, private.(crypto.Signer)}, nil
}

// sign makes the signature of a set of records with one name and type.
func (s *signer) sign(set []dns.RR) (*dns.RRSIG, error) {
	now := time.Now()
	sig := &dns.RRSIG{
		KeyTag: s.key.KeyTag(), SignerName: s.key.Hdr.Name, Algorithm: s.key.Algorithm,
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(7 * 24 * time.Hour).Unix()),
	}
	return sig, sig.Sign(s.private, set)
}

// A signedZone answers with records and their signatures.
type signedZone struct {
	records []dnsx.Record
}

// signZone signs every set of a zone, and the key that it adds.
func signZone(text string, s *signer) (*signedZone, error) {
	zone, err := dnsx.ParseZone(strings.NewReader(text), "", "")
	if err != nil {
		return nil, err
	}
	z := &signedZone{records: slices.Collect(zone.Records())}
	z.records = append(z.records, recordOf(s.key))
	sets := make(map[string][]dns.RR)
	for _, r := range z.records {
		rr, err := dns.NewRR(r.String())
		if err != nil {
			return nil, err
		}
		key := strings.ToLower(r.Name) + r.Type.String()
		sets[key] = append(sets[key], rr)
	}
	for _, set := range sets {
		sig, err := s.sign(set)
		if err != nil {
			return nil, err
		}
		z.records = append(z.records, recordOf(sig))
	}
	return z, nil
}

// recordOf converts a record of miekg/dns.
func recordOf(rr dns.RR) dnsx.Record {
	h := rr.Header()
	return dnsx.Record{
		Name: h.Name, Type: dnsx.Type(h.Rrtype), TTL: time.Duration(h.Ttl) * time.Second,
		Data: strings.TrimPrefix(rr.String(), h.String()),
	}
}

// answer gives the records of a name and type with their signature.
func (z *signedZone) answer(query []byte) (*dnsx.Message, error) {
	m, err := dnsx.ParseMessage(query)
	if err != nil {
		return nil, err
	}
	m.Response, m.Authoritative = true, true
	q := m.Questions[0]
	for _, r := range z.records {
		if !dnsx.EqualNames(r.Name, q.Name) {
			continue
		}
		if r.Type == q.Type || r.Type == typeRRSIG && covers(r, q.Type) {
			m.Answer = append(m.Answer, r)
		}
	}
	return m, nil
}

// covers reports whether a signature is that of a type.
func covers(sig dnsx.Record, typ dnsx.Type) bool {
	covered, _, _ := strings.Cut(sig.Data, " ")
	return covered == typ.String()
}

// Why a validating resolver does not believe an answer.
var (
	errUnsigned  = errors.New("the zone is signed, as the zone above says, and this answer is not")
	errOtherKey  = errors.New("the key is not the one that the zone above names")
	errSignature = errors.New("the signature does not fit the records")
)

// A validator asks a server and believes what is signed. Its trust begins with
// the DS record of the zone, which in the real DNS the zone above gives, signed by its own key,
// and so on up to the root's, which is built in.
type validator struct {
	client *dnsx.Client
	f      *field
	zone   string
	ds     *dns.DS
}

// ask returns the records of one type, with their signature.
func (v *validator) ask(ctx context.Context, name string, typ dnsx.Type) (set []dns.RR, sig *dns.RRSIG, err error) {
	query := dnsx.NewQuery(name, typ)
	query.EDNS.DNSSECOK = true // send signatures
	m, err := v.client.Exchange(ctx, v.f.addr, query)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range m.Answer {
		rr, err := dns.NewRR(r.String())
		if err != nil {
			return nil, nil, err
		}
		if found, ok := rr.(*dns.RRSIG); ok {
			sig = found
		} else if r.Type == typ && dnsx.EqualNames(r.Name, name) {
			set = append(set, rr)
		}
	}
	return set, sig, nil
}

// resolve returns the addresses of a name, and why they are not to be believed
// if they are not.
func (v *validator) resolve(ctx context.Context, name string) (addrs []string, doubt, err error) {
	set, sig, err := v.ask(ctx, name, dnsx.A)
	if err != nil {
		return nil, nil, err
	}
	for _, rr := range set {
		addrs = append(addrs, recordOf(rr).Data)
	}
	if sig == nil || len(set) == 0 {
		return addrs, errUnsigned, nil
	}
	keys, keySig, err := v.ask(ctx, v.zone, typeDNSKEY)
	if err != nil {
		return nil, nil, err
	}
	return addrs, v.check(set, sig, keys, keySig), nil
}

// check goes down the chain of trust: the DS record fits a key, that key has
// signed the set of keys, a key has signed the records [RFC 4035 section 5].
//
// [RFC 4035 section 5]: https://www.rfc-editor.org/rfc/rfc4035#section-5
func (v *validator) check(set []dns.RR, sig *dns.RRSIG, keys []dns.RR, keySig *dns.RRSIG) error {
	if keySig == nil {
		return errUnsigned
	}
	var entry *dns.DNSKEY
	for _, rr := range keys {
		if key, ok := rr.(*dns.DNSKEY); ok {
			if ds := key.ToDS(v.ds.DigestType); ds != nil && strings.EqualFold(ds.Digest, v.ds.Digest) {
				entry = key
			}
		}
	}
	now := time.Now()
	switch {
	case entry == nil:
		return errOtherKey
	case keySig.Verify(entry, keys) != nil || !keySig.ValidityPeriod(now):
		return errSignature
	case sig.Verify(entry, set) != nil || !sig.ValidityPeriod(now): // one key signs all here
		return errSignature
	}
	return nil
}

func dnssec(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		f, err := newField(ctx)
		if err != nil {
			return err
		}
		defer f.close()
		owner, err := newSigner("zocalo-labs.com.")
		if err != nil {
			return err
		}
		zone, err := signZone(startup, owner)
		if err != nil {
			return err
		}
		attacker, err := newSigner("zocalo-labs.com.")
		if err != nil {
			return err
		}
		faked, err := signZone(strings.NewReplacer("192.0.2.1", evilIP, "192.0.2.2", evilIP).Replace(startup), attacker)
		if err != nil {
			return err
		}
		v := &validator{client: &dnsx.Client{Timeout: patience}, f: f, zone: "zocalo-labs.com.", ds: owner.key.ToDS(dns.SHA256)}

		fmt.Fprintln(env.Stdout, "The attacker is on the path: he reads each query and answers it first, with the right id, port and letters.")
		for _, scene := range []struct {
			what   string
			change func(m *dnsx.Message) // what he makes of the true answer
			zone   *signedZone
		}{
			{"nobody interferes", nil, zone},
			{"he puts his address in", func(m *dnsx.Message) {
				for i := range m.Answer {
					if m.Answer[i].Type == dnsx.A {
						m.Answer[i].Data = evilIP
					}
				}
			}, zone},
			{"he leaves the signature out, too", func(m *dnsx.Message) {
				m.Answer = []dnsx.Record{{Name: startupName, Type: dnsx.A, TTL: forgedTTL, Data: evilIP}}
			}, zone},
			{"he signs with a key of his own", nil, faked},
		} {
			f.when(func(_ dnsx.Exchange, query, _ []byte) [][]byte {
				m, err := scene.zone.answer(query)
				if err != nil {
					return nil
				}
				if scene.change != nil && m.Questions[0].Type == dnsx.A {
					scene.change(m)
				}
				wire, err := m.Pack()
				if err != nil {
					return nil
				}
				return [][]byte{wire}
			})
			addrs, doubt, err := v.resolve(ctx, startupName)
			if err != nil {
				return err
			}
			verdict := "signed, and the signature holds"
			if doubt != nil {
				verdict = "refused: " + doubt.Error()
			}
			fmt.Fprintf(env.Stdout, "%s:\n  who does not validate gets   %s\n  who validates                %s\n", scene.what, strings.Join(addrs, ", "), verdict)
		}
		return nil
	}
}
