package dnsx

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Organization returns the name under which the owner of name has registered
// it, one label below a public suffix: "cs.uni.ac.uk." belongs to "uni.ac.uk.".
// It is empty if name is itself a public suffix, such as "co.uk.", or above one,
// and if it is no name.
//
// No rule of the DNS says where registration ends. The public suffix list does,
// which browsers keep by hand; a copy of it is built in.
func Organization(name string) string {
	name, err := foldName(name)
	if err != nil {
		return ""
	}
	owner, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(name, "."))
	if err != nil {
		return ""
	}
	return owner + "."
}

// A Kinship says how much two names have in common.
type Kinship uint8

// What [CompareNames] finds.
const (
	Strangers Kinship = iota // different organisations
	Relatives                // the same organisation, so far as the DNS shows
	SameName                 // equal
)

// String gives "different organisations", "same organisation" or "same name".
func (k Kinship) String() string {
	switch k {
	case SameName:
		return "same name"
	case Relatives:
		return "same organisation"
	}
	return "different organisations"
}

// CompareNames says how much two names have in common. Equal letters at the end
// are not enough: "alfa.co.uk." and "beta.co.uk." are strangers.
func CompareNames(a, b string) Kinship {
	x, errX := foldName(a)
	y, errY := foldName(b)
	if errX != nil || errY != nil {
		return Strangers
	}
	if x == y {
		return SameName
	}
	if owner := Organization(x); owner != "" && owner == Organization(y) {
		return Relatives
	}
	return Strangers
}
