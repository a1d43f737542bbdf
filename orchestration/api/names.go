package api

import (
	"path"
	"strings"
)

// The limits of Kubernetes on names.
const (
	maxLabel     = 63
	maxSubdomain = 253
)

const (
	labelRule     = "isn't a DNS label: write at most 63 lower case letters, digits and -, with a letter or digit at both ends"
	subdomainRule = "isn't a DNS subdomain: write at most 253 lower case letters, digits, - and ., with a letter or digit at both ends of each part"
)

// isLabel reports whether s is a DNS label as Kubernetes has it.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return isLower(s)
}

// isLower reports whether s has only lower case letters, digits and -.
func isLower(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// checkLabel says why s isn't a DNS label; empty when it is one.
func checkLabel(s string) string {
	if isLabel(s) {
		return ""
	}
	return labelRule
}

// checkSubdomain says why s can't be an object's name; empty when it can.
func checkSubdomain(s string) string {
	if len(s) > maxSubdomain {
		return subdomainRule
	}
	for part := range strings.SplitSeq(s, ".") {
		// parts may be longer than a label, as in Kubernetes
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' || !isLower(part) {
			return subdomainRule
		}
	}
	return ""
}

// checkPackageName says why s isn't a package's name: DNS labels joined by
// slashes, as Porch has it. Empty when it is.
func checkPackageName(s string) string {
	switch {
	case strings.HasPrefix(s, "/"):
		return "is absolute: write a path below the package that declares it"
	case len(s) > maxSubdomain:
		return "is longer than 253 characters"
	}
	for seg := range strings.SplitSeq(s, "/") {
		switch {
		case seg == "":
			return "has an empty segment: write one / between two names and none at the end"
		case seg == "." || seg == "..":
			return "has the segment " + seg + ": write a path of plain names"
		case !isLabel(seg):
			return "has the segment " + quote(seg) + ", which " + labelRule
		}
	}
	return ""
}

// checkSubpath says why s isn't a path below a package that may be written to;
// empty when it is. Segments begin and end with a letter or digit, which keeps
// out .git and all the names that some file system takes for it.
func checkSubpath(s string) string {
	if strings.HasPrefix(s, "/") {
		return "is absolute: write a path below the package that declares it"
	}
	if len(s) > 1024 {
		return "is longer than 1024 characters"
	}
	for seg := range strings.SplitSeq(path.Clean(s), "/") {
		switch {
		case seg == "..":
			return "leads out of the package (..): write a path below the package that declares it"
		case seg == ".":
		case len(seg) > maxSubdomain, !isAlnum(seg[0]), !isAlnum(seg[len(seg)-1]), strings.ContainsFunc(seg, notInName):
			return "has the segment " + quote(seg) + ": write letters, digits, -, _ and ., with a letter or digit at both ends"
		}
	}
	return ""
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func notInName(r rune) bool {
	return r >= 0x80 || !isAlnum(byte(r)) && r != '-' && r != '_' && r != '.'
}

// checkDirectory says why s isn't a directory of a repository; empty when it
// is. A leading / is the repository's root, as in Porch.
func checkDirectory(s string) string {
	switch {
	case strings.ContainsFunc(s, isControl):
		return "has a control character"
	case strings.Contains(s, `\`):
		return `has a backslash: write / between directories`
	}
	for seg := range strings.SplitSeq(s, "/") {
		if seg == ".." {
			return "leads upwards (..): write the path from the repository's root"
		}
	}
	return ""
}

// repositoryPath is a directory of a repository as a clean path without a
// leading slash, "." for the root.
func repositoryPath(dir string) string {
	return path.Clean("./" + strings.TrimLeft(dir, "/"))
}

// checkWord says why s isn't fit to be one word of a command or request (a URL,
// a git ref, an image): git and others take a leading - for an option.
func checkWord(s string) string {
	switch {
	case strings.HasPrefix(s, "-"):
		return "begins with -"
	case strings.ContainsFunc(s, func(r rune) bool { return isControl(r) || r == ' ' }):
		return "has a space or control character"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// dnsPath makes a path into DNS labels joined by slashes: other letters become
// lower case or -, segments that nothing is left of are dropped.
func dnsPath(s string) string {
	var segs []string
	for seg := range strings.SplitSeq(s, "/") {
		seg = strings.Map(func(r rune) rune {
			switch {
			case r >= 'A' && r <= 'Z':
				return r + 'a' - 'A'
			case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return '-'
		}, seg)
		seg = strings.Trim(seg[:min(len(seg), maxLabel)], "-")
		if seg != "" {
			segs = append(segs, seg)
		}
	}
	return strings.Join(segs, "/")
}
