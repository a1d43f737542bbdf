package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
)

const (
	googleMetadata = "http://metadata.google.internal"
	googleTimeout  = 10 * time.Second // for one answer of a server in the same machine
	googleMargin   = time.Minute      // how long before its end a token is no longer used
)

// googleToken is an access token of the process's own Google identity.
type googleToken struct {
	text string
	ends time.Time
}

func (d *CredentialsDir) googleToken(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.google.text != "" && time.Now().Before(d.google.ends) {
		return d.google.text, nil
	}
	ctx, cancel := context.WithTimeout(ctx, googleTimeout)
	defer cancel()
	base := strings.TrimSuffix(cmp.Or(d.MetadataURL, googleMetadata), "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and no proxy: it is on this machine
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return "", unwrapUnexpected(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", &statusError{res.StatusCode}
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	// What json says of a value it can't take could be part of the token.
	if json.NewDecoder(io.LimitReader(res.Body, maxSecret)).Decode(&answer) != nil || answer.AccessToken == "" {
		return "", errors.New("its answer holds no token")
	}
	if strings.ContainsFunc(answer.AccessToken, unicode.IsControl) {
		return "", errors.New("its token has a control character")
	}
	life := time.Duration(min(max(answer.ExpiresIn, 0), 24*3600)) * time.Second
	d.google = googleToken{answer.AccessToken, time.Now().Add(life - googleMargin)}
	return answer.AccessToken, nil
}
