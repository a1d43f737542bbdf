package repository

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func packets(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%04x%s\n", len(line)+5, line)
	}
	return b.String() + "0000"
}

func TestReadLsRefs(t *testing.T) {
	t.Parallel()
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	names := []string{"refs/tags/v1", "refs/heads/v1"}
	for name, tc := range map[string]struct {
		in, want string // what the first of names means, or the error
	}{
		"none":           {packets(), "nothing"},
		"a branch":       {packets(one + " refs/heads/v1"), one},
		"a tag":          {packets(one+" refs/heads/v1", two+" refs/tags/v1 peeled:"+one), one},
		"longer names":   {packets(two+" refs/tags/v10", two+" refs/heads/v1/x"), "nothing"},
		"other facts":    {packets(one + " refs/heads/v1 symref-target:refs/heads/x new:thing"), one},
		"cut off":        {strings.TrimSuffix(packets(one+" refs/heads/v1"), "0000"), "unexpected EOF"},
		"a refusal":      {"0031ERR upload-pack: not our ref command=ls-refs\n", "no list of refs"},
		"a page":         {"<html>", "no list of refs"},
		"sha256":         {packets(one + strings.Repeat("1", 24) + " refs/heads/v1"), "no list of refs"},
		"not only a ref": {packets("x"), "no list of refs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := readLsRefs(strings.NewReader(tc.in), names)
			if !strings.HasPrefix(tc.want, "1") && tc.want != "nothing" {
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			got := "nothing"
			if h, ok := list.first(names); ok {
				got = list.commit(h).String()
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func FuzzReadLsRefs(f *testing.F) {
	one := strings.Repeat("1", 40)
	f.Add(packets(one+" refs/heads/v1", one+" refs/tags/v1 peeled:"+one))
	f.Add("0031ERR upload-pack: not our ref command=ls-refs\n")
	f.Fuzz(func(t *testing.T, in string) {
		names := []string{"refs/heads/v1"}
		list, err := readLsRefs(strings.NewReader(in), names)
		if err != nil {
			return
		}
		for name := range list.hashes {
			assert.Contains(t, names, name)
		}
	})
}
