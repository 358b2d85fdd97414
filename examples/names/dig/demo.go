package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, step := range []struct {
			args []string
			want string // in the output
		}{
			{[]string{"-norec", "-server", "127.53.0.1", "www.example.com"}, "com.\t86400\tIN\tNS\ta.gtld-servers.net."},
			{[]string{"www.example.com"}, "IN\tA\t127.53.10.10"},
			{[]string{"-norec", "-server", "127.53.20.7", "www.truncating.test"}, "once more, over TCP"},
			{[]string{"-x", "127.53.14.10"}, "IN\tPTR\tweb1.unizocalo.es."},
			{[]string{"-tls", "example.com", "MX"}, "(TLS)"},
			{[]string{"-wire", "-bufsize", "0", "nothing.example.com"}, "rcode: NXDOMAIN"},
		} {
			out, err := env.As("dig").Play(ctx, "", step.args...)
			if err != nil {
				return err
			}
			if !strings.Contains(out, step.want) {
				return fmt.Errorf("%q was to print %q", step.args, step.want)
			}
		}
		return nil
	}
}
