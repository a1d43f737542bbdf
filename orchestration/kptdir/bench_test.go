package kptdir

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkRead1000(b *testing.B) {
	dir := manyFiles(1000).dir(b)
	for b.Loop() {
		_, err := Read(context.Background(), dir, Limits{})
		require.NoError(b, err)
	}
}

// A hundred of a thousand files change with every write.
func BenchmarkWrite1000Changed10Percent(b *testing.B) {
	d := open(b, manyFiles(1000).dir(b))
	var after [2]files
	for i := range after {
		after[i] = manyFiles(1000)
		n := 0
		for p := range after[i] {
			if strings.HasSuffix(p, "5.yaml") {
				after[i][p] += fmt.Sprintf("  round: \"%d\"\n", i)
				n++
			}
		}
		require.Equal(b, 100, n)
	}
	for i := 0; b.Loop(); i++ {
		require.NoError(b, d.Write(context.Background(), after[i%2].tree(b)))
	}
}

func BenchmarkWriteNothing1000(b *testing.B) {
	d := open(b, manyFiles(1000).dir(b))
	same := manyFiles(1000).tree(b)
	for b.Loop() {
		require.NoError(b, d.Write(context.Background(), same))
	}
}

// Two files of 50,000 lines with a thousand that differ, and two with nothing in
// common but few kinds of lines, which is what a line diff fears.
func BenchmarkDiffBigFiles(b *testing.B) {
	for _, big := range []struct {
		name string
		line func(i, round int) string
	}{
		{"edited", func(i, round int) string {
			if i%50 == 0 {
				return fmt.Sprintf("  changed: %d-%d\n", i, round)
			}
			return fmt.Sprintf("  key-%d: value\n", i%997)
		}},
		{"scrambled", func(i, round int) string { return fmt.Sprintf("%d\n", (i*(7+2*round)*2654435761>>9)%5) }},
	} {
		b.Run(big.name, func(b *testing.B) {
			var texts [2][][]byte
			for round := range texts {
				var s strings.Builder
				for i := range 50_000 {
					s.WriteString(big.line(i, round))
				}
				texts[round] = splitLines([]byte(s.String()))
			}
			for b.Loop() {
				editsOf(texts[0], texts[1])
			}
		})
	}
}
