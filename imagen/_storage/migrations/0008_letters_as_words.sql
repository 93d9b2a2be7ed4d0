-- Words of Thai, Lao, Khmer, Myanmar, Korean and others are found inside a sentence, and marks of Indic scripts, Hebrew and
-- Arabic no longer cut a word: see as_searched. Only texts that hold such letters are indexed anew.
REPLACE INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets)
SELECT * FROM image_documents WHERE number IN (
    SELECT number FROM images
    WHERE request || coalesce(revised_prompt, '') || tags || notes GLOB '*[' || char(0x0590) || '-' || char(0x1cff)
        || char(0xa000) || '-' || char(0xd7af) || char(0xff66) || '-' || char(0xff9f)
        || char(0x17000) || '-' || char(0x18dff) || ']*'
);

REPLACE INTO prompt_search (rowid, name, text, tags, notes)
SELECT
    prompts.number, as_searched(prompts.name), as_searched(prompt_versions.text),
    as_searched((SELECT group_concat(value, ' ') FROM json_each(prompts.tags))), as_searched(prompts.notes)
FROM prompts JOIN prompt_versions ON prompt_versions.prompt = prompts.number AND prompt_versions.version = prompts.version
WHERE prompts.name || prompt_versions.text || prompts.tags || prompts.notes GLOB '*[' || char(0x0590) || '-' || char(0x1cff)
    || char(0xa000) || '-' || char(0xd7af) || char(0xff66) || '-' || char(0xff9f)
    || char(0x17000) || '-' || char(0x18dff) || ']*';
