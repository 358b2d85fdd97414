package dnsx

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrganization(t *testing.T) {
	for name, want := range map[string]string{
		"www.Example.com":      "example.com.",
		"example.com.":         "example.com.",
		"cs.uni.ac.uk.":        "uni.ac.uk.",
		"co.uk.":               "",
		"com.":                 "",
		".":                    "",
		"":                     "",
		"a..b":                 "",
		"www.españa.es":        "xn--espaa-rta.es.",
		"ana.github.io":        "ana.github.io.", // a public suffix of a company
		"www.city.kawasaki.jp": "city.kawasaki.jp.",
		"printer.lan":          "printer.lan.", // no rule: the last label
	} {
		require.Equal(t, want, Organization(name), name)
	}
}

func TestCompareNames(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want Kinship
	}{
		{"www.example.com.", "WWW.example.com", SameName},
		{"www.example.com.", "mail.example.com.", Relatives},
		{"www.example.com.", "example.com.", Relatives},
		{"alfa.co.uk.", "beta.co.uk.", Strangers},
		{"example.com.", "example.org.", Strangers},
		{"notexample.com.", "example.com.", Strangers},
		{"ana.github.io.", "eva.github.io.", Strangers},
		{"com.", "com.", SameName},
		{"com.", "net.", Strangers},
		{"a..b", "a..b", Strangers},
	} {
		require.Equal(t, test.want, CompareNames(test.a, test.b), "%s %s", test.a, test.b)
		require.Equal(t, test.want, CompareNames(test.b, test.a), "%s %s", test.b, test.a)
	}
	require.Equal(t, "same name, same organisation, different organisations", SameName.String()+", "+Relatives.String()+", "+Strangers.String())
}

func FuzzCompareNames(f *testing.F) {
	f.Add("www.example.com", "example.com.")
	f.Add("co.uk", "a.co.uk")
	f.Fuzz(func(t *testing.T, a, b string) {
		require.Equal(t, CompareNames(a, b), CompareNames(b, a))
		if owner := Organization(a); owner != "" {
			require.Equal(t, owner, Organization(owner))
			require.NotEqual(t, Strangers, CompareNames(a, owner))
		}
	})
}
