package dnsx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Type is a record type as the protocol numbers it [RFC 1035 section 3.2.2].
//
// [RFC 1035 section 3.2.2]: https://www.rfc-editor.org/rfc/rfc1035#section-3.2.2
type Type uint16

// The types that this package itself looks at. [ParseType] knows the others by
// their names.
const (
	A     Type = 1
	NS    Type = 2
	CNAME Type = 5
	SOA   Type = 6
	PTR   Type = 12
	MX    Type = 15
	TXT   Type = 16
	AAAA  Type = 28
	SRV   Type = 33
	DNAME Type = 39
	AXFR  Type = 252
	ANY   Type = 255
)

// String gives the type's mnemonic, such as "MX", or as [RFC 3597 section 5]
// does, "TYPE65280".
//
// [RFC 3597 section 5]: https://www.rfc-editor.org/rfc/rfc3597#section-5
func (t Type) String() string {
	if s, ok := dns.TypeToString[uint16(t)]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseType is the inverse of [Type.String]; case does not matter.
func ParseType(s string) (Type, error) {
	up := strings.ToUpper(s)
	if t, ok := dns.StringToType[up]; ok {
		return Type(t), nil
	}
	if digits, ok := strings.CutPrefix(up, "TYPE"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			return Type(n), nil
		}
	}
	return 0, fmt.Errorf("dnsx: %q is not a record type", s)
}

// A Record is one resource record of class IN.
type Record struct {
	Name string        // absolute, with the dot at the end: "www.example.com."
	Type Type          // what Data is
	TTL  time.Duration // how long it may be kept, in whole seconds
	Data string        // as in a zone file, names absolute: "10 mail.example.com."
}

// String gives the record as a line of a zone file.
func (r Record) String() string {
	return fmt.Sprintf("%s\t%d\tIN\t%s\t%s", r.Name, int64(r.TTL/time.Second), r.Type, r.Data)
}

// A Status says what a definite answer means. A temporary failure is not a
// Status: it is an error, since nothing is known then.
type Status uint8

// The three definite answers [RFC 2308 section 2].
//
// [RFC 2308 section 2]: https://www.rfc-editor.org/rfc/rfc2308#section-2
const (
	OK       Status = iota // there are records of the type
	NoData                 // the name exists, but has none of the type
	NXDomain               // the name does not exist
)

// String gives "ok", "nodata" or "nxdomain".
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case NoData:
		return "nodata"
	case NXDomain:
		return "nxdomain"
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}

// An Answer is what a [Resolver] found out about a name and a type.
type Answer struct {
	Name    string   // as asked, absolute, in lower case
	Type    Type     // as asked
	Status  Status   // OK exactly if Records holds one of Type for Canonical
	Records []Record // the alias chain in order, then the records asked for
	SOA     *Record  // of a negative answer, when the server sent one

	Canonical     string // the name at the end of the alias chain; Name when there is none
	Authoritative bool   // the server said so (the AA bit); false from a cache
	Authenticated bool   // a validating resolver says so (the AD bit)
}

// A Resolver answers questions. An error means that nothing is known for now:
// it is temporary, and matches [ErrTemporary]; or that the question itself is
// wrong, and matches [ErrName]; or that ctx ended. That a name does not exist is an answer, not
// an error. Resolvers are safe for use by many goroutines.
type Resolver interface {
	// Resolve finds the records of a type that a name has.
	Resolve(ctx context.Context, name string, typ Type) (*Answer, error)
}

// Conditions that callers branch on.
var (
	// ErrTemporary is every failure that another attempt, later, may not meet:
	// silence, refusal, server failure, lame delegation, forged answers, limits.
	ErrTemporary = errors.New("temporary failure in name resolution")
	// ErrName is a name that DNS cannot hold: a label over 63 octets, a name over 255, an empty label.
	ErrName = errors.New("not a domain name")
	// ErrLoop is an alias chain that comes back to itself. It is temporary.
	ErrLoop = errors.New("alias loop")
	// ErrLimit is a resolution that took more work than it may. It is temporary.
	ErrLimit = errors.New("work limit reached")
)

// An Error says which question failed, at which server if one was asked, and
// why. Unwrap gives the reason.
type Error struct {
	Name   string         // the question
	Type   Type           // and its type
	Server netip.AddrPort // the zero value when no single server is to blame
	Err    error          // such as ErrTemporary, perhaps joined with a cause
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	where := ""
	if e.Server.IsValid() {
		where = " at " + e.Server.String()
	}
	return fmt.Sprintf("dnsx: %s %s%s: %v", e.Name, e.Type, where, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
