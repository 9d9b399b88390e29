// The page is whole without this. A name in a key brings out its arm; chosen again, all are back.
for (const name of document.querySelectorAll(".keys span[data-arm]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.dataset.arm = name.dataset.arm;
  button.append(...name.childNodes);
  name.replaceWith(button);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".keys button");
  if (!button) return;
  const chosen = button.getAttribute("aria-pressed") === "true" ? null : button.dataset.arm;
  for (const other of button.closest(".keys").querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other.dataset.arm === chosen));
  }
  for (const mark of button.closest("figure").querySelectorAll("svg [data-arm]")) {
    mark.classList.toggle("faint", chosen !== null && mark.dataset.arm !== chosen);
  }
});

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copies).textContent;
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  });
}

// What is folded is printed.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not(.data)")) folded.open = true;
});
