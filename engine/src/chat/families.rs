//! How the families of models that are known lay out turns: data for [`super::template`].

/// How turns are laid out. In all of these words `</s>` stands for the token that ends texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TemplateLayout {
    pub(super) name: &'static str,
    /// Before and after the system prompt.
    pub(super) system: [&'static str; 2],
    /// True if the system prompt stands inside of the first user's turn.
    pub(super) inside: bool,
    /// Before and after what the user says.
    pub(super) user: [&'static str; 2],
    /// Before an answer.
    pub(super) assistant: &'static str,
    /// What ends an answer; `None`: the token that ends texts.
    pub(super) end: Option<&'static str>,
    /// What follows that before the next turn.
    pub(super) after: &'static str,
    /// Where white space around what is said is left out.
    pub(super) trim: Trim,
}

/// Where white space around what is said is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trim {
    Nowhere,
    /// Around system prompts and what users say.
    Both,
    /// Around what users say, but not between a system prompt and the first of it: Llama 2's
    /// template strips the two as one.
    Llama2,
    /// After system prompts.
    AfterSystem,
}

pub(super) const CHATML: TemplateLayout = TemplateLayout {
    name: "chatml",
    system: ["<|im_start|>system\n", "<|im_end|>\n"],
    inside: false,
    user: ["<|im_start|>user\n", "<|im_end|>\n"],
    assistant: "<|im_start|>assistant\n",
    end: Some("<|im_end|>"),
    after: "\n",
    trim: Trim::Nowhere,
};

/// Chatml with headings inside of its system prompt.
pub(super) const SMOLLM3: TemplateLayout = TemplateLayout {
    name: "smollm3",
    system: ["<|im_start|>system\n", "\n\n<|im_end|>\n"],
    trim: Trim::AfterSystem,
    ..CHATML
};

pub(super) const PHI4: TemplateLayout = TemplateLayout {
    name: "phi4",
    system: ["<|im_start|>system<|im_sep|>", "<|im_end|>"],
    user: ["<|im_start|>user<|im_sep|>", "<|im_end|>"],
    assistant: "<|im_start|>assistant<|im_sep|>",
    after: "",
    ..CHATML
};

pub(super) const LLAMA3: TemplateLayout = TemplateLayout {
    name: "llama3",
    system: [
        "<|start_header_id|>system<|end_header_id|>\n\n",
        "<|eot_id|>",
    ],
    user: ["<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"],
    assistant: "<|start_header_id|>assistant<|end_header_id|>\n\n",
    end: Some("<|eot_id|>"),
    after: "",
    trim: Trim::Both,
    ..CHATML
};

pub(super) const GRANITE: TemplateLayout = TemplateLayout {
    name: "granite",
    system: [
        "<|start_of_role|>system<|end_of_role|>",
        "<|end_of_text|>\n",
    ],
    user: ["<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"],
    assistant: "<|start_of_role|>assistant<|end_of_role|>",
    end: Some("<|end_of_text|>"),
    ..CHATML
};

pub(super) const ZEPHYR: TemplateLayout = TemplateLayout {
    name: "zephyr",
    system: ["<|system|>\n", "</s>\n"],
    user: ["<|user|>\n", "</s>\n"],
    assistant: "<|assistant|>\n",
    end: None,
    ..CHATML
};

/// Like zephyr's, but only answers have an end.
pub(super) const FALCON3: TemplateLayout = TemplateLayout {
    name: "falcon3",
    system: ["<|system|>\n", "\n"],
    user: ["<|user|>\n", "\n"],
    ..ZEPHYR
};

pub(super) const PHI3: TemplateLayout = TemplateLayout {
    name: "phi3",
    system: ["<|system|>\n", "<|end|>\n"],
    user: ["<|user|>\n", "<|end|>\n"],
    assistant: "<|assistant|>\n",
    end: Some("<|end|>"),
    ..CHATML
};

pub(super) const DEEPSEEK3: TemplateLayout = TemplateLayout {
    name: "deepseek3",
    system: ["", ""],
    user: ["<｜User｜>", ""],
    assistant: "<｜Assistant｜>",
    end: Some("<｜end▁of▁sentence｜>"),
    after: "",
    ..CHATML
};

pub(super) const LLAMA2: TemplateLayout = TemplateLayout {
    name: "llama2",
    system: ["<<SYS>>\n", "\n<</SYS>>\n\n"],
    inside: true,
    user: ["[INST] ", " [/INST]"],
    assistant: "",
    end: None,
    after: "",
    trim: Trim::Nowhere,
};

pub(super) const MISTRAL_V1: TemplateLayout = TemplateLayout {
    name: "mistral v1",
    system: ["", "\n\n"],
    user: [" [INST] ", " [/INST]"],
    ..LLAMA2
};

pub(super) const MISTRAL_V3: TemplateLayout = TemplateLayout {
    name: "mistral v3",
    user: ["[INST] ", "[/INST]"],
    ..MISTRAL_V1
};

pub(super) const MISTRAL_V3_TEKKEN: TemplateLayout = TemplateLayout {
    name: "mistral v3 tekken",
    user: ["[INST]", "[/INST]"],
    ..MISTRAL_V1
};

pub(super) const MISTRAL_V7: TemplateLayout = TemplateLayout {
    name: "mistral v7",
    system: ["[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"],
    inside: false,
    user: ["[INST] ", "[/INST]"],
    ..MISTRAL_V1
};

pub(super) const MISTRAL_V7_TEKKEN: TemplateLayout = TemplateLayout {
    name: "mistral v7 tekken",
    system: ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
    user: ["[INST]", "[/INST]"],
    ..MISTRAL_V7
};
