module github.com/troupe-llm/troupe/http/pagetest

go 1.26.0
