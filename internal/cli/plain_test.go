package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	n, err := plain{&b}.Write([]byte("a\x1b[2J\rb\tc\né"))
	require.NoError(t, err)
	require.Equal(t, 12, n)
	require.Equal(t, "a\ufffd[2J\ufffdb\tc\né", b.String())
}
